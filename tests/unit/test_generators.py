"""The random generators of whatever devices are here go back to where they were."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlm2vec_cli.generators import random_state, set_random_state


class Device:
    """torch's module of a kind of device, with one generator or with several."""

    def __init__(self, number: int, *, several: bool) -> None:
        self.own = [torch.Generator().manual_seed(seed) for seed in range(number)]
        self.get_rng_state = lambda: self.own[0].get_state()
        self.set_rng_state = lambda state: self.own[0].set_state(state)
        if several:
            self.get_rng_state_all = lambda: [one.get_state() for one in self.own]
            self.set_rng_state_all = self._set_all

    def _set_all(self, states: list[torch.Tensor]) -> None:
        for one, state in zip(self.own, states, strict=True):
            one.set_state(state)

    def draw(self) -> list[float]:
        return [float(torch.rand((), generator=one)) for one in self.own]


@pytest.mark.parametrize(("kind", "number"), [("xpu", 3), ("mps", 1)])
def test_devices_draw_again_what_they_drew(monkeypatch: pytest.MonkeyPatch, kind: str, number: int) -> None:
    device = Device(number, several=kind != "mps")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: SimpleNamespace(type=kind))
    modules: dict[str, Any] = {kind: device}
    monkeypatch.setattr(torch, "get_device_module", lambda one: modules[one.type])
    state = random_state()
    first = (device.draw(), float(torch.rand(())))
    assert (device.draw(), float(torch.rand(()))) != first
    set_random_state(state)
    assert (device.draw(), float(torch.rand(()))) == first


def test_a_state_from_a_machine_with_devices_is_taken_by_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    cpu, devices = random_state()
    assert devices == []
    drawn = float(torch.rand(()))
    set_random_state((cpu, [torch.zeros(16, dtype=torch.uint8)]))
    assert float(torch.rand(())) == drawn
