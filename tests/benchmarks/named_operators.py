"""Names of torchvision's operators, without which its Python part cannot be imported.

To be imported before transformers, which imports torchvision where it is installed. Its wheel is linked to
CUDA; beside a PyTorch without CUDA the operators do not load. Nobody here calls one.
"""

import importlib.util

import torch

if importlib.util.find_spec("torchvision") and torch.version.cuda is None:
    KEPT = torch.library.Library("torchvision", "FRAGMENT")  # a library that goes takes its names along
    for name in ("nms", "qnms"):
        KEPT.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
