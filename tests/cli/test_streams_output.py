"""What every command does with its output: its form, unfinished files, closed pipes, signals."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from runner import Runner
from two_rows import GOOD, TWO

PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(re.search("VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def test_parquet_is_refused_on_a_terminal_before_the_input_is_read(rows: Runner) -> None:
    ours, theirs = pty.openpty()
    with rows.start(
        "--natural", "parquet", stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE
    ) as run:
        _, stderr = run.communicate(b"never read", timeout=60)
        os.close(theirs)
        os.close(ours)
        assert stderr.decode().splitlines() == [
            "vlm2vec: error: Parquet is not written to a terminal",
            "hint: add -o FILE.parquet, --format jsonl, or a pipe",
        ]
        assert run.returncode == 2


@pytest.mark.parametrize("name", ["o.parquet", "o.jsonl", "o.jsonl.gz", "o.jsonl.zst", "o.ndjson"])
def test_every_output_form_is_read_back(rows: Runner, name: str) -> None:
    rows.write("in.jsonl", GOOD)
    assert rows("in.jsonl", "-o", name).exit_code == 0
    data = (rows.work / name).read_bytes()
    assert sorted(one.name for one in rows.work.iterdir()) == sorted(["in.jsonl", name])
    renamed = rows.write("unnamed", data)  # recognised by its bytes, not by its name
    assert rows(renamed).rows == TWO
    assert rows(stdin=data).rows == TWO
    assert rows("in.jsonl", "-o", "again-" + name).exit_code == 0
    assert (rows.work / f"again-{name}").read_bytes() == data


def test_the_suffix_decides_over_format_and_says_so(rows: Runner) -> None:
    done = rows("--format", "parquet", "-o", "o.jsonl", stdin=GOOD)
    assert done.stderr == b"vlm2vec: warning: --format parquet is not used: the suffix of o.jsonl decides\n"
    assert (rows.work / "o.jsonl").read_bytes().startswith(b'{"schema"')


def test_an_unknown_format_answers_with_the_nearest(rows: Runner) -> None:
    done = rows("--format", "parkett", stdin=GOOD)
    assert (
        done.stderr == b"vlm2vec: error: --format: unknown format 'parkett'\nhint: did you mean 'parquet'?\n"
    )
    assert done.exit_code == 2


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.jsonl.zst", "o.parquet"])
def test_an_unfinished_output_is_partial_and_valid(rows: Runner, name: str) -> None:
    done = rows("-o", name, stdin=GOOD + b"{\n")
    assert done.exit_code == 65
    assert done.stderr.decode().splitlines()[1] == f"hint: the finished rows are in {name}.partial"
    assert [one.name for one in rows.work.iterdir()] == [f"{name}.partial"]
    assert rows(f"{name}.partial").rows == TWO


def test_an_output_without_a_finished_row_leaves_nothing(rows: Runner) -> None:
    for name in ("o.jsonl", "o.parquet", "o.jsonl.gz"):
        assert rows("-o", name, stdin=b"{\n").stderr.count(b"\n") == 1
    assert list(rows.work.iterdir()) == []


def test_an_older_output_stays_until_the_new_one_is_complete(rows: Runner) -> None:
    rows.write("o.jsonl", b"old")
    assert rows("-o", "o.jsonl", stdin=b"{\n").exit_code == 65
    assert (rows.work / "o.jsonl").read_bytes() == b"old"
    assert rows("-o", "o.jsonl", "o.jsonl", stdin=b"").exit_code == 65  # an output may be its own input
    rows.write("o.jsonl", GOOD)
    assert rows("-o", "o.jsonl", "o.jsonl").exit_code == 0
    assert len((rows.work / "o.jsonl").read_bytes().splitlines()) == 2


def test_empty_input_gives_empty_output(rows: Runner) -> None:
    assert rows(stdin=b"").stdout == b""
    packed = rows("--natural", "parquet", stdin=b"")
    assert rows(stdin=packed.stdout).stdout == b""
    assert rows("-o", "o.parquet", stdin=b"").exit_code == 0
    assert pq.read_table(rows.work / "o.parquet").num_rows == 0


def test_an_output_may_be_a_device(rows: Runner) -> None:
    assert rows("-o", "/dev/null", stdin=GOOD).exit_code == 0
    assert rows("-o", "/dev/stdout", stdin=GOOD).rows == TWO


@pytest.mark.parametrize("natural", ["jsonl", "parquet"])
def test_a_closed_pipe_ends_quietly(rows: Runner, natural: str) -> None:
    rows.write("in.jsonl", [{"text": f"{n} " + "x" * 100, "n": n} for n in range(5000)])
    with rows.start("in.jsonl", "--natural", natural, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.read(10)
        run.stdout.close()
        assert (run.wait(60), run.stderr.read()) == (0, b"")
        run.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_finished_rows(rows: Runner, number: signal.Signals, code: int) -> None:
    with rows.start("-o", "o.jsonl", stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stderr is not None
        run.stdin.write(GOOD)
        run.stdin.flush()
        deadline = time.monotonic() + 60
        while (
            not any(one.stat().st_size for one in rows.work.glob(".o.jsonl.*"))
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(60) == code
        assert run.stderr.read() == b"vlm2vec: warning: the finished rows are in o.jsonl.partial\n"
        run.stdin.close()
        run.stderr.close()
        assert rows("o.jsonl.partial").rows in (TWO, TWO[:1])


def test_the_first_row_arrives_while_the_input_is_still_open(rows: Runner) -> None:
    with rows.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(b'{"text": "a"}\n')
        run.stdin.flush()
        assert select.select([run.stdout], [], [], 60)[0]
        assert json.loads(run.stdout.readline()) == TWO[0]
        run.stdin.close()
        run.stdout.close()
        run.wait(60)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_rows(rows: Runner) -> None:
    program = (sys.executable, "-c", PEAK, *rows.program[1:])
    peaks = []
    for number in (2_000, 20_000):
        rows.write("in.jsonl", [{"text": "x" * 200, "n": n} for n in range(number)])
        peaks.append(int(Runner(rows.work, program)("in.jsonl", "-o", "o.jsonl").stderr))
    assert peaks[1] < peaks[0] * 1.1
