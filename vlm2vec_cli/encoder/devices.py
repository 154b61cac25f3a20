"""Where a model runs, in which numbers, and how many tokens at once."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# A pack larger than this is no faster.
_MOST_TOKENS = {"cpu": 4096}
_MOST_ON_ACCELERATORS = 32768
_LEAST_TOKENS = 512
_ROUNDS = 20  # of one float32 and one bfloat16 product, a millisecond together
_SLOW_SECONDS = 0.05
# So many times as slow in so many turns is no chance: a processor without a unit for bfloat16 has 50.
_CLEAR_RATIO, _CLEAR_TURNS = 8, 3
# Of the memory that is free, what the states of one pack may take; the rest is for kernels and fragments.
_SHARE = 0.4
# States alive at once in a layer: of the width of the residual stream, and of the MLP's inner width.
_WIDE, _INNER = 8, 4


def pick_device(name: str) -> torch.device:
    """`auto` is the first accelerator, or this process's own among those of a launcher, else the CPU.

    Raises UsageError for an unknown name.
    """
    if name == "auto":
        if (
            torch.accelerator.is_available()
            and (found := torch.accelerator.current_accelerator()) is not None
        ):
            own = int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.accelerator.device_count())
            return torch.device(found.type, own) if own else found
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {first}", hint="auto, cpu, cuda, cuda:1 or mps") from None
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where a matrix product is measured at least 1.5 times as fast in it, else
    float32."""
    if name != "auto":
        if name not in DTYPES:
            raise UsageError(f"--dtype: unknown number type {name!r}", hint=f"auto, {', '.join(DTYPES)}")
        return DTYPES[name]
    single, half = _matmul_seconds((torch.float32, torch.bfloat16), device)
    return torch.bfloat16 if half * 1.5 < single else torch.float32


def _matmul_seconds(numbers: Sequence[torch.dtype], device: torch.device) -> list[float]:
    """The best time of each, in turns: what else the machine does slows single products, and processes that
    share a job must not choose differently."""
    size = 256 if device.type == "cpu" else 2048
    lefts = [torch.ones(size, size, dtype=number, device=device) for number in numbers]
    best = [float("inf")] * len(lefts)
    for turn in range(_ROUNDS):
        for at, left in enumerate(lefts):
            start = time.perf_counter()
            float((left @ left)[0, 0])  # waits for the device
            best[at] = min(best[at], time.perf_counter() - start)
        slow = turn >= 1 and max(best) > _SLOW_SECONDS  # the first turn loads libraries, too
        if slow or (turn + 1 >= _CLEAR_TURNS and max(best) > _CLEAR_RATIO * min(best)):
            break
    return best


def pack_tokens(model: Any) -> int:
    """Tokens of one pack that fit into the memory now free beside the model, each with its 2 x 2 patches."""
    device = model.device
    most = _MOST_TOKENS.get(device.type, _MOST_ON_ACCELERATORS)
    free = free_bytes(device)
    if free is None:
        return most
    return int(min(most, max(_LEAST_TOKENS, _SHARE * free / token_bytes(model))))


def token_bytes(model: Any) -> int:
    """About what one token, or the patches behind it, takes in a layer."""
    text, vision = model.config.get_text_config(), getattr(model.config, "vision_config", None)
    numbers = _width(text)
    if vision is not None:
        numbers += 4 * _width(vision)
    return numbers * int(next(model.parameters()).element_size())


def _width(config: Any) -> int:
    width = getattr(config, "embed_dim", None) or config.hidden_size
    inner = getattr(config, "intermediate_size", None) or width * getattr(config, "mlp_ratio", 4)
    return int(_WIDE * width + _INNER * inner)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a CUDA device or of the machine; None where it cannot be asked for."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def out_of_memory(error: RuntimeError) -> bool:
    """PyTorch has a type of its own for accelerators alone, and not for what their libraries take."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "STATUS_ALLOC_FAILED")
    )
