"""How much of the fault suite is run, what came of it, and runs that are ended at any moment."""

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner import Done
from warm import Warm

FULL = os.environ.get("FAULTS") == "full"


def share(number: int) -> int:
    """How many of the `number` inputs of a full run this run makes: a five hundredth, at least five."""
    return number if FULL else max(5, number // 500)


class Tally:
    """What was injected, and what came of it."""

    def __init__(self) -> None:
        self._faults: dict[str, Counter[str]] = {}
        self._inputs: dict[str, Counter[str]] = {}

    def input(self, kind: str, result: str) -> None:
        """One more fuzzed input, `read` or `refused`."""
        self._inputs.setdefault(kind, Counter())[result] += 1

    @contextlib.contextmanager
    def injected(self, fault: str, number: int = 1) -> Iterator[None]:
        """Counts `number` faults as survived, or as lost where the block raises."""
        counts = self._faults.setdefault(fault, Counter())
        try:
            yield
        except BaseException:
            counts["lost"] += number
            raise
        counts["survived"] += number

    def table(self) -> list[str]:
        """Lines for people."""
        lines = []
        for kinds, heads in (
            (self._faults, ("fault", "injected", "survived", "lost")),
            (self._inputs, ("fuzz", "inputs", "read", "refused")),
        ):
            rows = [(name, found.total(), found[heads[2]], found[heads[3]]) for name, found in kinds.items()]
            lines += ["{:<46}{:>9}{:>9}{:>9}".format(*row) for row in (heads, *rows)] if rows else []
        return lines


def ended(warm: Warm, seconds: float, number: signal.Signals, *args: str | Path) -> Done:
    """A run that gets a signal after some seconds, if it is still there; a killed one has the code -9."""
    assert warm.server
    folder = warm.work / ".run"
    folder.mkdir(exist_ok=True)
    stdout, stderr, process = (folder / name for name in ("stdout", "stderr", "process"))
    process.unlink(missing_ok=True)
    request = {
        "args": [*map(str, args)], "cwd": str(warm.work), "env": warm.env(),
        "streams": [os.devnull, str(stdout), str(stderr)], "process": str(process),
    }  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(warm.server.run, request)
        while not (process.exists() and process.read_text()) and not code.done():
            time.sleep(0.005)
        time.sleep(seconds)
        if not code.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.read_text()), number)
        return Done(code.result(), stdout.read_bytes(), stderr.read_bytes())


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int = 1024) -> Iterator[Path]:
    """A file system of its own in memory; the test is skipped where it cannot be mounted."""
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here, only root may: {error}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
