"""Several processes of one command on one machine, and what a process knows of its launcher.

Nothing heavy is imported here: the process that starts the others only waits.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from vlm2vec_cli.errors import UnavailableError, UsageError
from vlm2vec_cli.streams import opening

_OURS = "VLM2VEC_LAUNCHED"
_GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.05
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def rank() -> int:
    """The number of this process among those of the run; Slurm's tasks get the variables that torch reads."""
    if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1 and _is_srun():
        # "node[003-007,9],other" is a list of nodes; rank 0 runs on the first
        nodes = os.environ.get("SLURM_STEP_NODELIST", "")
        first = "".join(re.findall(r"^([^,\[]*)(?:\[(\d+))?", nodes)[0])
        os.environ.setdefault("MASTER_ADDR", first or "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 20000))
        os.environ["RANK"] = os.environ["SLURM_PROCID"]
        os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
        os.environ["LOCAL_RANK"] = os.environ.get("SLURM_LOCALID", "0")
    return int(os.environ.get("RANK", "0"))


def _is_srun() -> bool:
    """srun sets both in each task; a script under sbatch alone has SLURM_NTASKS but is no task of a step."""
    return "SLURM_PROCID" in os.environ and "SLURM_STEP_ID" in os.environ


def is_member() -> bool:
    """Whether this process is one of several already, whoever started them."""
    rank()
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_inputs(inputs: Sequence[str] | None) -> None:
    """Raises UsageError when several processes that another launcher started would share one stdin."""
    if is_member() and _OURS not in os.environ and opening.STDIN in (inputs or [opening.STDIN]):
        raise UsageError(
            "several processes cannot read one stdin", hint="name a FILE, or use --num-processes"
        )


def run(number: int, inputs: Sequence[str] | None, *, together: bool = True) -> int:
    """Runs this command line in `number` processes and returns their exit code.

    Each gets its own copy of stdin. The first one's streams are ours. Signals are passed on. When one ends
    badly and the others do not follow, they are ended, unless they do not work `together`.
    """
    with _stdin(inputs) as stdin, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        common = {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), _OURS: "1",
                  "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}  # fmt: skip
        free.close()
        threads = str(max(1, (os.cpu_count() or 1) // number))
        command = [sys.executable, "-m", "vlm2vec_cli", *sys.argv[1:]]
        processes: list[subprocess.Popen[bytes]] = []
        with _passing_on(processes), ExitStack() as stack:
            for one in range(number):
                processes.append(
                    subprocess.Popen(
                        command,
                        env={
                            "OMP_NUM_THREADS": threads,
                            **os.environ,
                            **common,
                            "RANK": str(one),
                            "LOCAL_RANK": str(one),
                        },
                        stdin=stack.enter_context(open(stdin or os.devnull, "rb")),
                        stdout=None if one == 0 else subprocess.DEVNULL,
                        start_new_session=True,  # a terminal's Ctrl-C comes once, through us
                    )
                )
            return _waited(processes, together)


@contextmanager
def _stdin(inputs: Sequence[str] | None) -> Iterator[str | None]:
    """The path of a file with what stdin holds, where it is an input."""
    if opening.STDIN not in (inputs or [opening.STDIN]):
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="vlm2vec-stdin-") as spool:
        shutil.copyfileobj(opening.stdin(), spool)
        spool.flush()
        yield spool.name


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, _: FrameType | None) -> None:
        for one in processes:
            if one.poll() is None:
                one.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for one in processes:
            if one.poll() is None:
                one.kill()
                one.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _waited(processes: Sequence[subprocess.Popen[bytes]], together: bool) -> int:
    deadline = None
    while any(one.poll() is None for one in processes):
        failed = [one for one in processes if one.poll() not in (None, 0)]
        if together and failed and deadline is None:
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    codes = [one.poll() for one in processes]
    for at, code in enumerate(codes):
        if code is not None and code < 0:
            raise UnavailableError(
                f"process {at} of {len(codes)} was ended by {signal.Signals(-code).name}",
                hint="out of memory?" if code == -signal.SIGKILL else None,
            )
    return next((code for code in codes if code), 0)
