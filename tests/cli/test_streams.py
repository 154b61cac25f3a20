"""What every command does with its streams, by the line on stderr and the exit code."""

import gzip
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
import zstandard

from runner import Runner

GOOD = b'{"text": "a"}\n{"text": "b"}\n'
PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(re.search("VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""
TWO = [
    {"schema": "vlm2vec/item@1", "text": "a", "id": "1", "dataset": "default", "role": "query"},
    {"schema": "vlm2vec/item@1", "text": "b", "id": "2", "dataset": "default", "role": "query"},
]


def test_rows_get_their_tag_id_dataset_and_role(rows: Runner) -> None:
    done = rows(stdin=GOOD)
    assert (done.exit_code, done.rows, done.stderr) == (0, TWO, b"")


def test_unknown_fields_and_order_pass_through(rows: Runner) -> None:
    lines = [{"text": str(n), "id": str(n), "mine": {"n": [n, None]}, "null": None} for n in range(50)]
    done = rows(stdin="".join(json.dumps(line) + "\n" for line in lines).encode())
    assert [
        {"text": r["text"], "id": r["id"], "mine": r["mine"], "null": r["null"]} for r in done.rows
    ] == lines


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        (b"{", None),
        (b"\xff", None),
        (b"[1]", "expected a JSON object"),
        (b"{}", "expected text, image or video"),
        (b'{"image": []}', "expected text, image or video"),
        (b'{"text": 3}', "text: expected a string, got a number"),
        (b'{"text": "a", "role": "q"}', "role: expected 'query' or 'candidate', got 'q'"),
        (b'{"text": "a", "relevant": {"c": 0}}', "relevant: c: expected a gain above 0, got 0"),
        (b'{"schema": "vlm2vec/pair@1"}', "schema: expected vlm2vec/item@1, got vlm2vec/pair@1"),
        (b'{"schema": "mine"}', "schema: expected vlm2vec/item@1, got 'mine'"),
        (b'{"schema": "vlm2vec/item@2"}', "schema: vlm2vec/item@2 is newer than vlm2vec/item@1"),
    ],
)
def test_a_bad_row_is_named_and_the_rows_before_it_are_written(
    rows: Runner, line: bytes, fact: str | None
) -> None:
    rows.write("in.jsonl", b'{"text": "a"}\n\n' + line + b"\n" + GOOD)
    done = rows("in.jsonl")
    assert (done.exit_code, done.rows) == (65, TWO[:1])
    said = done.stderr.decode().splitlines()
    assert said[0].startswith("vlm2vec: error: in.jsonl line 3: ")
    if fact is not None:
        assert said[0] == f"vlm2vec: error: in.jsonl line 3: {fact}"


def test_the_first_row_of_stdin_being_bad_leaves_stdout_empty(rows: Runner) -> None:
    for natural in ("jsonl", "parquet"):
        done = rows("--natural", natural, stdin=b'{"schema": "vlm2vec/item@1"}\n')
        assert (done.exit_code, done.stdout) == (65, b"")
        assert done.stderr == b"vlm2vec: error: stdin line 1: expected text, image or video\n"


def test_a_json_array_gets_the_remedy(rows: Runner) -> None:
    done = rows(stdin=b'[{"text": "a"}]')
    assert done.stderr.decode().splitlines()[1] == "hint: one object a line: jq -c '.[]' FILE"


def test_a_newer_version_gets_the_remedy(rows: Runner) -> None:
    done = rows(stdin=b'{"schema": "vlm2vec/item@7", "text": "a"}')
    assert done.stderr.decode().splitlines()[1] == "hint: install a newer vlm2vec-cli"


def test_parquet_rows_are_named_by_row(rows: Runner) -> None:
    rows.write("in.jsonl", [{"query": {"text": "q"}, "positive": {"text": "p"}}])
    assert rows("--kind", "pair", "in.jsonl", "-o", "p.parquet").exit_code == 0
    done = rows("p.parquet")
    said = b"vlm2vec: error: p.parquet row 1: schema: expected vlm2vec/item@1, got vlm2vec/pair@1\n"
    assert (done.exit_code, done.stdout, done.stderr) == (65, b"", said)


def test_a_missing_input_is_66_before_any_work(rows: Runner) -> None:
    rows.write("in.jsonl", GOOD)
    done = rows("in.jsonl", "no.jsonl")
    assert (done.exit_code, done.stdout, done.stderr) == (
        66,
        b"",
        b"vlm2vec: error: no.jsonl: no such file\n",
    )


def test_a_missing_media_root_is_66(rows: Runner) -> None:
    done = rows("--media-root", "no", stdin=GOOD)
    assert (done.exit_code, done.stderr) == (
        66,
        b"vlm2vec: error: no: no such folder\nhint: check --media-root\n",
    )


def test_stdin_can_be_named_once(rows: Runner) -> None:
    done = rows("-", "-", stdin=GOOD)
    assert (done.exit_code, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"vlm2vec: error: stdin can be read once, '-' is given twice\n")


def test_several_inputs_are_one_stream_and_default_ids_stay_unique(rows: Runner) -> None:
    rows.write("a.jsonl", GOOD)
    assert [row["id"] for row in rows("a.jsonl", "-", "a.jsonl", stdin=GOOD).rows] == list("123456")


def test_a_folder_is_its_part_files_in_order(rows: Runner) -> None:
    for name in ("parts/b.jsonl", "parts/a.jsonl", "parts/.c.jsonl.1.tmp", "parts/d.jsonl.partial"):
        rows.write(name, [{"text": name}])
    assert [row["text"] for row in rows("parts").rows] == ["parts/a.jsonl", "parts/b.jsonl"]
    rows.write("none/readme.txt", b"")
    done = rows("none")
    assert done.stderr == b"vlm2vec: error: none: no .jsonl or .parquet file in this folder\n"
    assert done.exit_code == 66


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


def test_parquet_crosses_pipes(rows: Runner) -> None:
    packed = rows("--format", "parquet", stdin=GOOD)
    assert packed.stdout[:4] == b"PAR1"
    assert rows(stdin=packed.stdout).rows == TWO


def test_compressed_members_are_read_one_after_the_other(rows: Runner) -> None:
    assert len(rows(stdin=gzip.compress(GOOD) + gzip.compress(GOOD)).rows) == 4
    packer = zstandard.ZstdCompressor()
    assert len(rows(stdin=packer.compress(GOOD) + packer.compress(GOOD)).rows) == 4


def test_a_byte_order_mark_is_no_data(rows: Runner) -> None:
    assert rows(stdin=b"\xef\xbb\xbf" + GOOD).rows == TWO


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.parquet"])
def test_a_damaged_file_is_65(rows: Runner, name: str) -> None:
    rows.write("in.jsonl", GOOD * 2000)
    assert rows("in.jsonl", "-o", "whole" + name[3:]).exit_code == 0
    rows.write(name, (rows.work / f"whole{name[3:]}").read_bytes()[:-20])
    done = rows(name)
    assert done.exit_code == 65
    what = (
        b"the compressed stream is damaged after line"
        if name.endswith("gz")
        else b"not a readable Parquet file"
    )
    assert done.stderr.startswith(b"vlm2vec: error: " + name.encode() + b": " + what)


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


def test_limit_reads_the_first_rows_only(rows: Runner) -> None:
    assert rows("--limit", "1", stdin=GOOD + b"never looked at\n").rows == TWO[:1]


def test_skipped_rows_are_counted_and_the_run_is_65(rows: Runner) -> None:
    done = rows("--on-error", "skip", stdin=b"{\n" + GOOD)
    assert (done.exit_code, [row["text"] for row in done.rows]) == (65, ["a", "b"])
    assert done.stderr.decode().splitlines() == [
        "vlm2vec: error: 1 row rejected, 0 allowed",
        "hint: --rejects FILE writes them down",
    ]


def test_rejected_rows_are_written_with_place_code_and_reason(rows: Runner) -> None:
    rows.write("in.jsonl", b'{"text": 1}\n' + GOOD + b"no\n")
    done = rows("in.jsonl", "--on-error", "skip", "--rejects", "bad.jsonl", "-o", "o.jsonl")
    assert done.exit_code == 65
    assert done.stderr == b"vlm2vec: error: 2 rows rejected, 0 allowed\nhint: see bad.jsonl\n"
    assert len((rows.work / "o.jsonl").read_bytes().splitlines()) == 2  # complete, under its name
    bad = [json.loads(line) for line in (rows.work / "bad.jsonl").read_bytes().splitlines()]
    assert [(one["place"], one["code"], one["row"]) for one in bad] == [
        ("in.jsonl line 1", 65, {"text": 1}),
        ("in.jsonl line 4", 65, "no"),
    ]
    assert bad[0]["reason"] == "text: expected a string, got a number"


def test_rejects_up_to_the_allowed_number_are_tolerated_aloud(rows: Runner) -> None:
    done = rows("--on-error", "skip", "--allow-rejects", "2", stdin=b"{\n[]\n" + GOOD)
    assert (done.exit_code, done.stderr) == (0, b"vlm2vec: warning: 2 rows rejected, 2 allowed\n")
    assert rows("--on-error", "skip", "--allow-rejects", "1", stdin=b"{\n[]\n" + GOOD).exit_code == 65


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        (["--rejects", "r"], "--rejects has no use while the first bad row stops the run"),
        (["--allow-rejects", "1"], "--allow-rejects has no use while the first bad row stops the run"),
        (["--on-error", "warn"], "--on-error: expected fail or skip, got 'warn'"),
        (["--on-error", "skip", "--rejects", "-"], "--rejects needs a file: stdout carries data"),
        (["--on-error", "skip", "--rejects", "o", "-o", "o"], "--rejects and --output are the same file: o"),
        (["-o", "no/o.jsonl"], "no/o.jsonl: the folder does not exist"),
        (["-o", "."], ".: expected a file, this is a folder"),
        (["-q", "-v"], "--quiet and --verbose exclude each other"),
        (["--limit", "0"], "rows: invalid value for '--limit': 0 is not in the range x>=1"),
    ],
)
def test_options_that_do_not_fit_are_refused(rows: Runner, args: list[str], fact: str) -> None:
    done = rows(*args, stdin=GOOD)
    assert (done.exit_code, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[0] == f"vlm2vec: error: {fact}"


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
