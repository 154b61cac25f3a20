"""The program without its start-up: a process that has loaded the model libraries forks for each run.

Runs are as isolated as processes of their own: arguments, environment, folder, streams, signals, exit code.
All run under `-W error`, so that a warning fails the test that caused it.
"""

import importlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner import Done, Runner


class Server:
    """The process that forks, with `modules` imported beside the usual ones. `close` ends it."""

    def __init__(self, work: Path, *modules: str) -> None:
        environment = {**Runner(work).env(), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.pid = self._process.pid

    def run(self, request: Mapping[str, Any]) -> int:
        """The exit code of one run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass(frozen=True)
class Warm(Runner):
    """A Runner whose calls go to a server; `start` still makes a process of its own."""

    server: Server | None = None

    def __call__(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> Done:
        """As a Runner's; `timeout` is not used."""
        assert self.server
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
            paths[0].write_bytes(stdin)
            request = {
                "args": [*map(str, args)],
                "cwd": str(self.work),
                "env": self.env(env),
                "streams": [*map(str, paths)],
            }
            code = self.server.run(request)
            done = Done(code, paths[1].read_bytes(), paths[2].read_bytes())
        return _shown(args, done)

    @contextmanager
    def talk(self, *args: str | Path) -> Iterator["Talk"]:
        """A run that goes on inside the block, its stdout a pipe; what it left is known after the block."""
        assert self.server
        with tempfile.TemporaryDirectory() as folder:
            pipe, stderr, process = (Path(folder) / name for name in ("stdout", "stderr", "process"))
            os.mkfifo(pipe)
            request = {
                "args": [*map(str, args)],
                "cwd": str(self.work),
                "env": self.env(),
                "streams": [os.devnull, str(pipe), str(stderr)],
                "process": str(process),
            }
            with ThreadPoolExecutor(1) as pool:
                code = pool.submit(self.server.run, request)
                with pipe.open("rb") as stdout:
                    talk = Talk(stdout, int(process.read_text()))
                    yield talk
            talk.done = _shown(args, Done(code.result(), b"", stderr.read_bytes()))


@dataclass
class Talk:
    """A run that goes on."""

    stdout: BinaryIO
    process: int
    done: Done | None = None


def _shown(args: Sequence[str | Path], done: Done) -> Done:
    print(f"$ {shlex.join(map(str, args))}\nstatus {done.exit_code}\n--- stdout: {len(done.stdout)} bytes")
    print(done.stderr[-4000:].decode(errors="replace"))
    return done


def serve() -> None:
    """Reads requests, a line each, and answers each with an exit code.

    What is imported and not used here is what commands import: forked from this process, they have it.
    """
    import peft  # noqa: F401
    import torch

    from vlm2vec_cli import app, embedding, evaluating, scoring, tiny  # noqa: F401
    from vlm2vec_cli.losses import info_nce  # noqa: F401
    from vlm2vec_cli.streams import parquet, parquet_writer  # noqa: F401
    from vlm2vec_cli.training import run  # noqa: F401

    for name in sys.argv[1:]:
        importlib.import_module(name)
    torch.set_num_threads(1)
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)
        for line in requests:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                _become(request)
            answers.write(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _become(request: Mapping[str, Any]) -> None:
    from vlm2vec_cli import app

    if "process" in request:
        # Ended in the middle of an import, the interpreter leaves a file of its own to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        Path(request["process"]).write_text(str(os.getpid()))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, path in enumerate(request["streams"]):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), number)
    sys.argv = ["vlm2vec", *request["args"]]
    code: Any = 70
    try:
        app.run()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
