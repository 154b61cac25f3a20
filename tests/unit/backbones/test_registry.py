"""What every file in the folder has to have."""

import inspect
from pathlib import Path

import pytest
import torch

import golden
from backbones import LLAVA_NEXT, PHI3_V, QWEN2_5_VL, qwen3_vl
from vlm2vec_cli import plugins
from vlm2vec_cli.backbones import LORA_TARGETS, Backbone, served

HERE = Path(__file__).parent
NAMES = [name.replace("-", "_") for name in plugins.names("backbones")]
METHODS = [name for name in vars(Backbone) if not name.startswith("_") and callable(getattr(Backbone, name))]


def test_the_backbone_of_the_published_checkpoints_is_there() -> None:
    assert "qwen2_vl" in NAMES
    assert {"encode", "forward", "stock", "seeing_once", "save", "save_processor"} == set(METHODS)


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_file_is_complete(name: str) -> None:
    module = plugins.load("backbones", name)
    assert module.MODEL_TYPES
    assert all(isinstance(one, str) for one in module.MODEL_TYPES)
    assert "Source:" in (module.__doc__ or "")
    assert list(inspect.signature(module.load).parameters) == [
        "weights",
        "tokenizer",
        "limits",
        "family",
        "dtype",
        "device",
    ]
    assert "UnavailableError" in (module.load.__doc__ or "")
    assert (HERE / f"test_{name}.py").is_file()
    assert len(inspect.getsource(module).splitlines()) < 300
    made = next(one for one in vars(module).values() if inspect.isclass(one) and hasattr(one, "encode")
                and one.__module__ == module.__name__)  # fmt: skip
    for method in METHODS:
        ours, theirs = (inspect.signature(getattr(one, method)).parameters for one in (made, Backbone))
        assert list(ours) == list(theirs), method
        assert getattr(made, method).__doc__, method


def test_model_type_and_prompt_family_belong_to_one_backbone() -> None:
    modules = [plugins.load("backbones", name) for name in NAMES]
    pairs = [
        (one, family) for module in modules for one in module.MODEL_TYPES for family in module.PROMPT_FAMILIES
    ]
    assert len(pairs) == len(set(pairs))


def test_every_model_type_has_a_backbone_of_its_name() -> None:
    assert {one for name in NAMES for one in plugins.load("backbones", name).MODEL_TYPES} <= set(NAMES)


def test_every_model_type_has_its_lora_targets(tmp_path: Path) -> None:
    """Each name is that of linear layers in the model, and the decoder has no other ones."""
    models = {"qwen2_vl": golden.backbone().model, "qwen3_vl": qwen3_vl(tmp_path).model}
    models |= {family.name: family.backbone.model for family in (LLAVA_NEXT, PHI3_V, QWEN2_5_VL)}
    assert models.keys() == LORA_TARGETS.keys() == set(served())
    for name, model in models.items():
        linear = {one.rpartition(".")[2] for one, module in model.named_modules() if _linear(module)}
        assert linear >= set(LORA_TARGETS[name])
        decoder = model.language_model.named_modules()
        assert {one.rpartition(".")[2] for one, module in decoder if _linear(module)} <= set(
            LORA_TARGETS[name]
        )


def _linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)
