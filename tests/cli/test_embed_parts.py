"""Part files of `vlm2vec embed` by shards, processes and runs that were killed; its check."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import golden
from embed_items import jsonl, refusal, texts, tiny
from runner import Runner
from warm import Warm


def test_parts_by_several_shards_are_the_whole(warm: Warm, tmp_path: Path) -> None:
    stdin = texts(*({"text": f"row {number}"} for number in range(5)))
    whole = tiny(warm, stdin).rows
    model = ("embed", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2")
    for shard in ("2/2", "1/2"):
        done = warm(*model, "-o", "parts/", "--shard", shard, stdin=stdin)
        assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        f"part-00000{number}.parquet" for number in range(5)
    ]
    again = warm(*model, "-o", "parts/", "--resume", stdin=stdin)
    assert (again.exit_code, again.stderr) == (0, b"vlm2vec: 5 finished parts of shard 1-of-1 skipped\n")
    files = sorted((tmp_path / "parts").iterdir())
    found = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert [row["id"] for row in found] == [row["id"] for row in whole]
    for row, expected in zip(found, whole, strict=True):
        assert np.abs(np.array(row["embedding"]) - expected["embedding"]).max() <= 1e-6
    facts = {pq.read_schema(path).metadata[b"vlm2vec"] for path in files}
    assert len({json.loads(one)["fingerprint"] for one in facts} | {whole[0]["fingerprint"]}) == 1


def test_a_resumed_run_counts_the_rows_that_finished_parts_were_made_without(
    warm: Warm, tmp_path: Path
) -> None:
    warm.write("rows.jsonl", [{"text": "a"}, {"image": "nowhere.png"}, {"text": "b"}, {"image": "gone.png"}])
    command = ("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2",
               "-o", "parts/", "--on-error", "skip", "--rejects", "bad.jsonl")  # fmt: skip
    assert warm(*command).exit_code == 65
    (tmp_path / "parts" / "part-000001.parquet").unlink()
    done = warm(*command, "--resume")
    assert done.exit_code == 65
    assert done.stderr.decode().splitlines()[-2:] == [
        "vlm2vec: error: 2 rows rejected, 0 allowed",
        "hint: see bad.jsonl",
    ]
    found = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert sorted((one["place"], one["code"], one["reason"][:30]) for one in found) == [
        ("rows.jsonl line 2", 65, "was rejected when parts/part-0"),
        ("rows.jsonl line 4", 66, "image gone.png: no such file i"),
    ]
    assert warm(*command, "--resume", "--allow-rejects", "2").exit_code == 0


def test_parts_of_other_instructions_or_fields_are_not_skipped(warm: Warm) -> None:
    command = ("embed", "-m", golden.MODEL, "--dtype", "float32", "-o", "parts/", "--instruction", "Find:")
    assert warm(*command, "--keep", "text", "--keep", "size", stdin=texts()).exit_code == 0
    same = warm(*command, "--keep", "size", "--keep", "text", "--resume", stdin=texts())
    assert (same.exit_code, same.stderr) == (0, b"vlm2vec: 1 finished parts of shard 1-of-1 skipped\n")
    for more in (("--keep", "text"), ("--keep", "text", "--keep", "size", "--instruction", "Name:")):
        first = refusal(warm(*command, *more, "--resume", stdin=texts()), 65)[0]
        assert first == "vlm2vec: error: parts/part-000000.parquet: made from other input rows or options"


def test_a_folder_without_its_last_part_is_not_scored(warm: Warm, tmp_path: Path) -> None:
    rows = ({"id": "q", "text": "a", "relevant": {"c": 1}}, {"id": "c", "role": "candidate", "text": "b"})
    model = ("embed", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "1", "-o", "parts/")
    assert warm(*model, stdin=jsonl(list(rows))).exit_code == 0
    assert warm("score", "parts/").exit_code == 0
    (tmp_path / "parts" / "part-000001.parquet").unlink()
    assert refusal(warm("score", "parts/"), 65) == [
        "vlm2vec: error: parts/part-000001.parquet: this part is missing",
        "hint: the same vlm2vec embed with --resume makes it",
    ]


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            ["--shard", "1/2"],
            [
                "vlm2vec: error: shards, processes and --resume need a folder for part files",
                "hint: -o DIR/",
            ],
        ),
        (
            ["-o", "parts/", "--format", "jsonl"],
            ["vlm2vec: error: --format jsonl: part files are Parquet", "hint: leave --format out"],
        ),
        (
            ["--shard", "3/2"],
            ["vlm2vec: error: --shard: expected I/N or auto, got '3/2'", "hint: 1/4 is the first of four"],
        ),
    ],
)
def test_parts_that_cannot_be(warm: Warm, args: list[str], lines: list[str]) -> None:
    assert refusal(warm("embed", "-m", golden.MODEL, *args, stdin=texts()), 2) == lines


def test_a_check_says_what_it_found_and_changes_nothing(warm: Warm) -> None:
    done = tiny(warm, texts(), "--check", "2")
    assert done.stdout == tiny(warm, texts()).stdout
    assert done.stderr.startswith(b"vlm2vec: check of 2 rows: largest deviation ")


@pytest.mark.slow
def test_processes_share_the_parts_and_stdin(warm: Warm, tmp_path: Path) -> None:
    model = ("embed", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2")
    done = warm(*model, "-o", "parts/", "--num-processes", "2", stdin=texts({"id": "5", "text": "more"}))
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    files = sorted((tmp_path / "parts").iterdir())
    assert [path.name for path in files] == [f"part-00000{number}.parquet" for number in range(3)]
    found = [row["id"] for path in files for row in pq.read_table(path).to_pylist()]
    assert found == ["1", "2", "3", "4", "5"]


@pytest.mark.slow
def test_a_killed_run_loses_what_was_unfinished_and_goes_on(
    warm: Warm, vlm2vec: Runner, tmp_path: Path
) -> None:
    warm.write("rows.jsonl", [{"text": f"row {number} " * 40} for number in range(500)])
    options = ("rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "--batch-tokens", "500")
    process = vlm2vec.start("embed", *options, "-o", "parts/", "--part-rows", "20")
    folder = tmp_path / "parts"
    while not [*folder.glob("part-*.parquet")]:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}
    assert 0 < len(finished) < 25
    done = warm("embed", *options, "-o", "parts/", "--part-rows", "20", "--resume")
    assert done.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    whole = warm("embed", *options, "-o", "whole.parquet")
    assert whole.exit_code == 0
    found = [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]
    expected = pq.read_table(tmp_path / "whole.parquet").to_pylist()
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert np.abs(np.array(row["embedding"]) - other["embedding"]).max() <= 1e-6
