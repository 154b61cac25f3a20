"""Runs the real program in a folder of its own, and shows all of it when a test fails."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DROPPED = ("VLM2VEC_", "HF_", "PYTHONDONTWRITEBYTECODE")
PROGRAM = (sys.executable, "-m", "vlm2vec_cli")


def programs(folder: Path) -> Path:
    """A folder for the path in which `vlm2vec` and `python` are those of the tests."""
    made = folder / ".programs"
    made.mkdir(exist_ok=True)
    for name, words in (("vlm2vec", '-m vlm2vec_cli "$@"'), ("python", '"$@"')):
        (made / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n', encoding="utf-8")
        (made / name).chmod(0o755)
    return made


@dataclass(frozen=True)
class Done:
    """What a run left: its exit code and both streams."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a JSONL stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True)
class Runner:
    """Calls the program with `work` as its working directory; offline, without the user's settings."""

    work: Path
    program: Sequence[str] = PROGRAM

    def __call__(
        self,
        *args: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> Done:
        command = [*self.program, *map(str, args)]
        run = subprocess.run(
            command, cwd=self.work, input=stdin, capture_output=True, timeout=timeout, env=self.env(env)
        )
        print(f"$ {shlex.join(map(str, args))}\nstatus {run.returncode}")
        for name, data in (("stdout", run.stdout), ("stderr", run.stderr)):
            if data:
                print(f"--- {name}\n{data[:4000].decode(errors='replace')}")
        return Done(run.returncode, run.stdout, run.stderr)

    def start(
        self, *args: str | Path, env: Mapping[str, str] | None = None, **streams: Any
    ) -> subprocess.Popen[bytes]:
        """The running program, for tests that talk to it; `streams` as subprocess.Popen takes them."""
        return subprocess.Popen([*self.program, *map(str, args)], cwd=self.work, env=self.env(env), **streams)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        return {
            **kept,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.work / ".hf"),
            "COLUMNS": "100",
            **(more or {}),
        }

    def write(self, name: str, content: bytes | str | Sequence[Mapping[str, Any]]) -> Path:
        """A file in the working directory: bytes, text, or rows as JSONL."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        return path
