"""The program as a whole: version, help, and the funnel that every error leaves through."""

import re
import subprocess
import sys

import pytest

from runner import Runner
from vlm2vec_cli import __version__
from vlm2vec_cli.app import COMMANDS

PIPELINE = ("prepare", "mine-negatives", "train", "embed", "score", "report")


def test_version(vlm2vec: Runner) -> None:
    done = vlm2vec("--version")
    assert (done.exit_code, done.stdout) == (0, f"vlm2vec {__version__}\n".encode())


def test_commands_are_listed_in_the_order_of_the_pipeline(vlm2vec: Runner) -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", vlm2vec("--help").stdout.decode().partition("Commands:")[2], re.M)
    assert listed == [*PIPELINE, "doctor"] == list(COMMANDS)


def test_the_bare_program_shows_its_help_as_a_usage_error(vlm2vec: Runner) -> None:
    done = vlm2vec()
    assert (done.exit_code, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Usage: vlm2vec [OPTIONS] COMMAND")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_two_examples(vlm2vec: Runner, command: str) -> None:
    done = vlm2vec(command, "--help")
    assert (done.exit_code, done.stderr) == (0, b"")
    _, _, examples = done.stdout.decode().rpartition("\n  Examples:\n")
    starts = [line for line in examples.splitlines() if re.search(rf"\bvlm2vec {command}\b", line)]
    assert len(starts) >= 2
    assert all(line.startswith("    ") or not line for line in examples.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_something_for_every_option(command: str, vlm2vec: Runner) -> None:
    options = vlm2vec(command, "--help").stdout.decode().partition("\nOptions:\n")[2]
    options = options.partition("\n  Examples:\n")[0]
    bare = [
        line
        for line, after in zip(options.splitlines(), [*options.splitlines()[1:], ""], strict=True)
        if re.fullmatch(r"  -\S.*\S(?<!  )", line)
        and not re.search(r"\S  +\S", line)
        and not after.startswith("   ")
    ]
    assert bare == []


def test_an_unknown_command_answers_with_the_nearest(vlm2vec: Runner) -> None:
    done = vlm2vec("embde")
    assert done.exit_code == 2
    assert done.stderr.decode().splitlines() == [
        "vlm2vec: error: no such command 'embde'",
        "hint: did you mean 'embed'? known: prepare, mine-negatives, train, embed, score, report, doctor",
    ]


def test_an_unknown_option_answers_with_the_nearest(rows: Runner) -> None:
    done = rows("--formt", "x")
    assert done.exit_code == 2
    assert done.stderr == b"vlm2vec: error: rows: no such option: --formt\nhint: did you mean '--format'?\n"


def test_an_option_without_its_value_is_a_usage_error(rows: Runner) -> None:
    done = rows("--limit")
    assert done.exit_code == 2
    assert (
        done.stderr
        == b"vlm2vec: error: rows: option '--limit' requires an argument\nhint: vlm2vec rows --help\n"
    )


def test_a_bug_of_ours_is_70_with_a_traceback(rows: Runner) -> None:
    done = rows("--bug")
    assert (done.exit_code, done.stdout) == (70, b"")
    said = done.stderr.decode().splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert said[-2:] == [
        "vlm2vec: error: internal error: ValueError: wrong sign",
        "hint: please report it with the lines above",
    ]


def test_help_into_a_closed_pipe_is_quiet(vlm2vec: Runner) -> None:
    with vlm2vec.start("--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert (run.wait(60), run.stderr.read()) == (0, b"")
        run.stderr.close()


IN_A_FINALISER = """
import os, signal, time
from vlm2vec_cli import app

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), NUMBER)
        time.sleep(0)  # where the signal arrives

def work(**_):
    Finalised()
    time.sleep(60)

app.app = work
app.run()
"""


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_is_not_lost_in_a_finaliser(number: str, code: int) -> None:
    program = IN_A_FINALISER.replace("NUMBER", f"signal.{number}")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (code, b"")
