"""Runs ended at any moment, by a signal or by their readers: the same command gives the same bytes."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import whole
from faults import FULL, Tally, contents, ended
from runner import Done, Runner
from warm import Warm


def kills(warm: Warm, number: int, seconds: float, *args: str | Path, in_a_row: int = 1) -> Iterator[int]:
    """Kills `number` runs of a command at random moments; gives how many in a row were killed, each going
    on from the last.

    A run that is done before its signal is no kill: 0 where it was the first, and an earlier moment is drawn.
    """
    chance, left = random.Random(number), number
    for _ in range(5 * number):
        killed = 0
        while killed < min(left, in_a_row):
            run = ended(warm, chance.uniform(0, seconds), signal.SIGKILL, *args)
            assert run.exit_code in (-9, 0), run.stderr
            if run.exit_code == 0:
                seconds *= 0.7
                break
            killed += 1
        yield killed
        left -= killed
        if not left:
            return
    raise AssertionError(f"{left} of {number} kills came after the end of their run")


def stopped(warm: Warm, number: signal.Signals, seconds: float, folder: str, *args: str | Path) -> Done:
    """A run that got a signal in its middle; one that was done before it begins anew."""
    for part in (0.5, 0.4, 0.3, 0.2, 0.1):
        run = ended(warm, part * seconds, number, *args)
        if run.exit_code != 0:
            return run
        shutil.rmtree(warm.work / folder)
    raise AssertionError(f"each {number.name} came after the end of its run")


@pytest.mark.slow
def test_parts_do_not_depend_on_how_often_they_were_killed(warm: Warm, tally: Tally) -> None:
    whole.write(warm)
    expected, seconds = whole.parts(warm)
    for killed in kills(warm, 20 if FULL else 2, seconds, *whole.embed(), in_a_row=4):
        with tally.injected("SIGKILL, embed -o DIR/ --resume", killed):
            assert warm(*whole.embed()).exit_code == 0
            assert contents(warm.work / "parts", "*") == expected, "neither more nor other files"
        shutil.rmtree(warm.work / "parts")


@pytest.mark.slow
def test_weights_do_not_depend_on_how_often_the_run_was_killed(warm: Warm, tally: Tally) -> None:
    whole.write(warm)
    expected, seconds = whole.weights(warm, 6)
    for killed in kills(warm, 20 if FULL else 3, seconds, *whole.train(6), in_a_row=4):
        with tally.injected("SIGKILL, train", killed):
            assert warm(*whole.train(6)).exit_code == 0
            assert (warm.work / "run" / whole.WEIGHTS).read_bytes() == expected
            names = {path.name for path in (warm.work / "run").iterdir()}
            assert not [name for name in names if name.startswith(".")], names
            assert len([name for name in names if name.startswith("checkpoint-")]) <= 2
        shutil.rmtree(warm.work / "run")


def test_an_output_file_is_there_whole_or_not_at_all(warm: Warm, tally: Tally) -> None:
    args = ("prepare", "quickstart", "--split", "train", "-q", "-o")
    whole.started(warm)
    start = time.monotonic()
    assert warm(*args, "whole.jsonl").exit_code == 0
    seconds = time.monotonic() - start
    expected, out = (warm.work / "whole.jsonl").read_bytes(), warm.work / "cut.jsonl"
    for killed in kills(warm, 20 if FULL else 2, seconds, *args, out.name):
        with tally.injected("SIGKILL, prepare -o FILE", killed):
            assert not out.exists() or out.read_bytes() == expected
            assert warm(*args, out.name).exit_code == 0
            assert out.read_bytes() == expected
        out.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_goes_on_from_there(
    warm: Warm, tally: Tally, number: signal.Signals, code: int
) -> None:
    whole.write(warm)
    expected, seconds = whole.parts(warm)
    with tally.injected(f"{number.name}, embed -o DIR/"):
        run = stopped(warm, number, seconds, "parts", *whole.embed())
        assert run.exit_code == code
        assert b"Traceback" not in run.stderr
        assert warm(*whole.embed()).exit_code == 0
        assert contents(warm.work / "parts", "*") == expected
    weights, seconds = whole.weights(warm, 4)
    with tally.injected(f"{number.name}, train"):
        run = stopped(warm, number, seconds, "run", *whole.train(4))
        assert run.exit_code in (75, code)  # the latter before the first step
        assert b"Traceback" not in run.stderr
        assert warm(*whole.train(4)).exit_code == 0
        assert (warm.work / "run" / whole.WEIGHTS).read_bytes() == weights


@pytest.mark.parametrize("natural", ["jsonl", "parquet"])
def test_a_reader_that_leaves_ends_the_run_in_silence(rows: Runner, tally: Tally, natural: str) -> None:
    rows.write("in.jsonl", [{"text": "x" * 200} for _ in range(3000)])
    for taken in (0, 1, 70_000):
        with (
            tally.injected("SIGPIPE"),
            rows.start("in.jsonl", "--natural", natural, stdout=-1, stderr=-1) as run,
        ):
            assert run.stdout is not None
            assert run.stderr is not None
            run.stdout.read(taken)
            run.stdout.close()
            assert (run.wait(60), run.stderr.read()) == (0, b"")
            run.stderr.close()
