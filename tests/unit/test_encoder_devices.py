"""Where a model runs, in which numbers, and how many tokens at once."""

import pytest
import torch

import golden
from vlm2vec_cli import encoder
from vlm2vec_cli.encoder import devices
from vlm2vec_cli.errors import UsageError


@pytest.mark.parametrize(
    ("plain", "half", "expected"),
    [
        (1.0, 0.1, torch.bfloat16),
        (1.0, 0.6, torch.bfloat16),
        (1.0, 0.7, torch.float32),
        (1.0, 9, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_it_is_much_faster(
    monkeypatch: pytest.MonkeyPatch, plain: float, half: float, expected: torch.dtype
) -> None:
    seconds = {torch.float32: plain, torch.bfloat16: half}
    monkeypatch.setattr(devices, "_matmul_seconds", lambda numbers, device: [seconds[one] for one in numbers])
    assert encoder.pick_dtype("auto", torch.device("cpu")) is expected
    assert encoder.pick_dtype("float16", torch.device("cpu")) is torch.float16


def test_auto_measures_something() -> None:
    assert encoder.pick_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_devices() -> None:
    assert encoder.pick_device("cpu") == torch.device("cpu")
    assert encoder.pick_device("auto").type in ("cpu", "cuda", "mps", "xpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(UsageError) as raised:
            encoder.pick_device(name)
        assert raised.value.fact.startswith(f"--device {name}: ")
        assert raised.value.hint == "auto, cpu, cuda, cuda:1 or mps"


def test_packs_are_as_large_as_the_free_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = golden.backbone().model
    text, vision = model.config.text_config, model.config.vision_config
    a_token = 4 * (8 * text.hidden_size + 4 * text.intermediate_size)
    a_token += 4 * 4 * (8 + 4 * vision.mlp_ratio) * vision.embed_dim
    assert devices.token_bytes(model) == a_token
    for free, expected in ((None, 4096), (1 << 50, 4096), (2000 * a_token, 800), (0, 512)):
        monkeypatch.setattr(devices, "free_bytes", lambda device, free=free: free)
        assert devices.pack_tokens(model) == expected
    monkeypatch.undo()
    assert (devices.free_bytes(torch.device("cpu")) or 1 << 20) > 1 << 10


def test_the_processes_of_a_launcher_take_a_device_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    found = []
    for rank in "012":
        monkeypatch.setenv("LOCAL_RANK", rank)
        found.append(str(encoder.pick_device("auto")))
    assert found == ["cuda", "cuda:1", "cuda"]


def test_one_slow_product_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    slow = {4: 100.0, 7: 50.0}  # the time of one product of either kind, of all others 1 and 0.5
    taken: list[float] = []

    def now() -> float:
        at = next(clock)
        if at % 2:
            number = at // 2
            taken.append(slow.get(number, 1e-3 if number % 2 == 0 else 5e-4))
        return sum(taken)

    monkeypatch.setattr(devices.time, "perf_counter", now)
    assert devices.pick_dtype("auto", torch.device("cpu")) == torch.bfloat16


def test_a_number_type_without_a_unit_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: 0.1 * next(clock))
    devices.pick_dtype("auto", torch.device("cpu"))
    assert next(clock) == 2 * 2 * 2


@pytest.mark.parametrize(("half", "expected"), [(0.025, torch.float32), (1e-4, torch.bfloat16)])
def test_what_is_clear_is_not_measured_on(
    half: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    taken = [0.0]

    def now() -> float:
        at = next(clock)
        if at % 2:
            taken.append(1e-3 if at // 2 % 2 == 0 else half)
        return sum(taken)

    monkeypatch.setattr(devices.time, "perf_counter", now)
    assert devices.pick_dtype("auto", torch.device("cpu")) == expected
    assert next(clock) == 2 * 2 * 3
