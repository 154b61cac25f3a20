"""Runs ended at any moment, by a signal or by their readers: the same command gives the same bytes."""

import random
import signal
import time

import pytest

import whole
from faults import FULL, Tally, contents, ended
from runner import Runner
from warm import Warm


def kills(warm: Warm, tally: Tally, name: str, number: int, seconds: float, *args: object) -> int:
    """Kills up to `number` runs of a command, each going on from the last; how many were running."""
    chance, done = random.Random(number), 0
    for _ in range(number):
        with tally.injected(f"SIGKILL, {name}"):
            run = ended(warm, chance.uniform(0, seconds), signal.SIGKILL, *map(str, args))
            assert run.exit_code in (-9, 0), run.stderr
        done += run.exit_code == -9
        if run.exit_code == 0:
            break
    return done


@pytest.mark.slow
def test_parts_do_not_depend_on_how_often_they_were_killed(warm: Warm, tally: Tally) -> None:
    whole.write(warm)
    expected, seconds = whole.parts(warm)
    left = 20 if FULL else 2
    while left > 0:
        left -= max(1, kills(warm, tally, "embed -o DIR/ --resume", min(left, 4), seconds, *whole.embed()))
        with tally.injected("SIGKILL, embed gone on to its end"):
            assert warm(*whole.embed()).exit_code == 0
            assert contents(warm.work / "parts", "*") == expected, "neither more nor other files"
        for path in (warm.work / "parts").iterdir():
            path.unlink()


@pytest.mark.slow
def test_weights_do_not_depend_on_how_often_the_run_was_killed(warm: Warm, tally: Tally) -> None:
    whole.write(warm)
    expected, seconds = whole.weights(warm, 6)
    left = 20 if FULL else 3
    while left > 0:
        left -= max(1, kills(warm, tally, "train", min(left, 4), seconds, *whole.train(6)))
        with tally.injected("SIGKILL, train gone on to its end"):
            assert warm(*whole.train(6)).exit_code == 0
            assert (warm.work / "run" / whole.WEIGHTS).read_bytes() == expected
            names = {path.name for path in (warm.work / "run").iterdir()}
            assert not [name for name in names if name.startswith(".")], names
            assert len([name for name in names if name.startswith("checkpoint-")]) <= 2
        (warm.work / "run").rename(warm.work / f"run-{left}")


def test_an_output_file_is_there_whole_or_not_at_all(warm: Warm, tally: Tally) -> None:
    args = ("prepare", "quickstart", "--split", "train", "-q", "-o")
    start = time.monotonic()
    assert warm(*args, "whole.jsonl").exit_code == 0
    seconds, chance = time.monotonic() - start, random.Random(0)
    for _ in range(20 if FULL else 2):
        with tally.injected("SIGKILL, prepare -o FILE"):
            run = ended(warm, chance.uniform(0, seconds), signal.SIGKILL, *args, "cut.jsonl")
            out = warm.work / "cut.jsonl"
            assert run.exit_code == 0 or not out.exists()
            assert warm(*args, "cut.jsonl").exit_code == 0
            assert out.read_bytes() == (warm.work / "whole.jsonl").read_bytes()
            out.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_goes_on_from_there(
    warm: Warm, tally: Tally, number: signal.Signals, code: int
) -> None:
    whole.write(warm)
    expected, seconds = whole.parts(warm)
    with tally.injected(f"{number.name}, embed -o DIR/"):
        run = ended(warm, seconds / 2, number, *whole.embed())
        assert run.exit_code in (code, 0)
        assert b"Traceback" not in run.stderr
        assert warm(*whole.embed()).exit_code == 0
        assert contents(warm.work / "parts", "*") == expected
    weights, seconds = whole.weights(warm, 4)
    with tally.injected(f"{number.name}, train"):
        run = ended(warm, seconds / 2, number, *whole.train(4))
        assert run.exit_code in (75, code, 0)  # the middle one before the first step
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
