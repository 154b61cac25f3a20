"""Messages go to stderr in one form; a bar is for terminals."""

import contextlib
import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from vlm2vec_cli import progress

SCRIPT = """
import logging
from vlm2vec_cli import progress
progress.start()
progress.start()
log = logging.getLogger("vlm2vec_cli.part")
log.debug("fine"); log.info("news"); log.warning("care")
print(sum(progress.bar(range(5), label="adding")))
log.info("done")
"""
STEPS = """
from vlm2vec_cli import progress
progress.start()
events = [{"event": "start", "first_step": 2, "steps": 5}, {"event": "step", "step": 3, "loss": 0.5}]
events += [{"event": "eval", "step": 3, "score": 0.25, "best": True}, {"event": "end", "step": 3}]
assert list(progress.steps(events, label="train")) == events
"""


def test_messages_have_one_form_and_appear_once() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("10\n", "vlm2vec: news\nvlm2vec: warning: care\nvlm2vec: done\n")


def on_a_terminal(script: str) -> bytes:
    """What a terminal of 80 columns is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal without writers
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    return seen


def test_a_terminal_gets_a_bar() -> None:
    seen = on_a_terminal(SCRIPT)
    assert b"adding:" in seen
    assert seen.count(b"vlm2vec: done") == 1


def test_training_shows_its_steps_of_all_and_its_loss() -> None:
    seen = on_a_terminal(STEPS)
    assert b" 2/5 " in seen
    assert b" 3/5 " in seen
    assert b"loss=0.5000, best=0.2500" in seen


def test_no_bar_without_a_terminal_or_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    things = [1, 2]
    assert progress.bar(things, label="x") is things
    assert progress.steps([], label="x") == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress.bar(things, label="x", quiet=True) is things
    monkeypatch.setattr(progress.PACKAGE_LOG, "level", logging.WARNING)
    assert progress.bar(things, label="x") is things
