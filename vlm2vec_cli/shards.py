"""Which part of a dataset this process works on, from the command line and from its launcher."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from vlm2vec_cli import launch
from vlm2vec_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` (from 0) of `count`."""

    index: int
    count: int

    @property
    def name(self) -> str:
        """As people count: 1-of-4."""
        return f"{self.index + 1}-of-{self.count}"


def find(given: str | None) -> Shard:
    """The shard of this process: `I/N` (from 1), or `auto`, the task's place in a Slurm array; times the
    processes that accelerate, torchrun or srun started.

    Raises UsageError for anything else, and for `auto` where there is no array and no launcher, or an array
    with gaps, in which a number does not say the place.
    """
    rank, world = launch.rank(), int(os.environ.get("WORLD_SIZE", "1"))
    outer = Shard(0, 1)
    if given == "auto":
        found = _array()
        if found is None and world == 1:
            raise UsageError(
                "--shard auto: no Slurm array and no process variables in the environment",
                hint="--shard I/N, such as 1/4",
            )
        outer = found or outer
    elif given is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", given)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard: expected I/N or auto, got {given!r}", hint="1/4 is the first of four")
        outer = Shard(int(match[1]) - 1, int(match[2]))
    return Shard(outer.index * world + rank, outer.count * world)


def _array() -> Shard | None:
    def number(name: str, absent: int) -> int:
        return int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", absent))

    if (task := number("ID", -1)) < 0 or not (count := number("COUNT", 0)):
        return None
    first, step = number("MIN", 0), number("STEP", 1)
    if (number("MAX", first + (count - 1) * step) - first) // step + 1 != count:
        raise UsageError(
            "--shard auto: the numbers of the Slurm array have gaps", hint=f"sbatch --array=0-{count - 1}"
        )
    return Shard((task - first) // step, count)
