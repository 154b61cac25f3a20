"""What every command does with its input and its bad rows, by the line on stderr and the exit code."""

import gzip
import json

import pytest
import zstandard

from runner import Runner
from two_rows import GOOD, TWO


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
