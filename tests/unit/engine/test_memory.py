"""Freed memory stays with the process; the kernel clears no page twice."""

import subprocess
import sys

import pytest
import torch

from vlm2vec_cli.engine import memory

PROGRAM = """
import resource, sys, torch
from vlm2vec_cli.engine import memory

if sys.argv[1] == "kept":
    assert memory.keep_freed(torch.device("cpu"))
for _ in range(10):
    torch.ones(10 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_large_tensors_reuse_the_memory_of_those_before() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    }
    assert faults["kept"] < 1000 < 10_000 < faults["returned"]


def test_other_devices_are_left_alone() -> None:
    assert not memory.keep_freed(torch.device("meta"))
