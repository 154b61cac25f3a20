"""The random generators of a process, as one value: the CPU's and those of its devices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RandomState = tuple[Tensor, list[Tensor]]


def random_state() -> RandomState:
    """Where all generators are."""
    module = _devices()
    if module is None:
        return torch.get_rng_state(), []
    if hasattr(module, "get_rng_state_all"):
        return torch.get_rng_state(), module.get_rng_state_all()
    return torch.get_rng_state(), [module.get_rng_state()]  # a kind of which there is one at most


def set_random_state(state: RandomState) -> None:
    """The inverse of `random_state`; states of devices that are not here are left out."""
    cpu, devices = state
    torch.set_rng_state(cpu)
    module = _devices()
    if module is None or not devices:
        return
    if hasattr(module, "set_rng_state_all"):
        module.set_rng_state_all(devices)
    else:
        module.set_rng_state(devices[0])


def _devices() -> Any | None:
    """torch's module of the accelerator that is here: torch.cuda, torch.xpu, torch.mps, ..."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if kind is None else torch.get_device_module(kind)
