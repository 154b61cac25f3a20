"""Clips decoded in processes of their own: video libraries leak, hang and crash, and the run goes on.

A process serves one clip at a time and is replaced after a number of clips. One that takes too long or dies
is an error of that clip alone. `python -m vlm2vec_cli.media.apart` is such a process: it reads pickled
requests from stdin and answers on stdout until its stdin ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, cast

from PIL import Image

from vlm2vec_cli import errors
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.media import clips
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.sampling import Window

Answer = Sequence[Image.Image] | UserError

_SECONDS = 120.0
_CLIPS = 64


class Apart:
    """`clips.decode` in other processes; for a `MediaReader`. May be used by several threads.

    A clip may take `seconds`; a process decodes `num_clips` clips before it is replaced.
    """

    def __init__(self, *, seconds: float = _SECONDS, num_clips: int = _CLIPS) -> None:
        self._seconds = seconds
        self._num_clips = num_clips
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()

    def __call__(
        self, source: str | bytes, *, window: Window | None, num_frames: int | None, policy: MediaPolicy
    ) -> list[Image.Image]:
        """As `clips.decode`; DataError also for a clip that takes too long or ends its process."""
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = _Process()
        answer = process.ask((source, window, num_frames, policy), self._seconds)
        if process.alive and process.num_clips < self._num_clips:
            self._idle.put(process)
        else:
            process.end()
        if isinstance(answer, UserError):
            raise answer
        return list(answer)


class _Process:
    def __init__(self) -> None:
        command = [sys.executable, "-m", "vlm2vec_cli.media.apart"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C is for the program alone
        )
        self.num_clips = 0
        self.alive = True

    def ask(self, request: Any, seconds: float) -> Answer:
        self.num_clips += 1
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump(request, self._pipe(self._process.stdin), protocol=pickle.HIGHEST_PROTOCOL)
            self._pipe(self._process.stdin).flush()
            kind, *told = pickle.load(self._pipe(self._process.stdout))
        except (EOFError, OSError, pickle.UnpicklingError):
            self.alive = False
            if late.is_set():
                return DataError(f"the video took more than {seconds:g} seconds to decode")
            return DataError(f"the video ended its decoder ({self._ended()})")
        finally:
            timer.cancel()
        if kind is None:
            return [Image.frombytes("RGB", size, data) for size, data in told]
        error: type[UserError] = getattr(errors, kind)
        return error(told[0], hint=told[1])

    def end(self) -> None:
        """Closes the pipes, which ends the process."""
        try:  # no helper of a module: at the end of the program modules are gone before this
            self._pipe(self._process.stdin).close()
        except OSError:
            pass
        self._pipe(self._process.stdout).close()
        if not self.alive:
            self._process.kill()
        self._process.wait()

    def __del__(self) -> None:
        if self._process.returncode is None:
            self.end()

    def _ended(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"status {code}"

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def serve() -> None:
    """Answers requests until stdin ends; whatever libraries print goes nowhere."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            source, window, num_frames, policy = pickle.load(requests)
        except EOFError:
            return
        told: tuple[Any, ...]
        try:
            frames = clips.decode(source, window=window, num_frames=num_frames, policy=policy)
            told = (None, *((frame.size, frame.tobytes()) for frame in frames))
        except UserError as error:
            told = (type(error).__name__, error.fact, error.hint)
        pickle.dump(told, cast(IO[bytes], answers), protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    serve()
