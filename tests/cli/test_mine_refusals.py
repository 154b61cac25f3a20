"""What mine-negatives refuses, names or counts: bad vectors, missing ones, options at odds."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mining_files import PAIRS, changed, dense, error, on_circle, texts, vectors
from runner import Runner


def test_a_query_without_vector_is_named(mine: Runner) -> None:
    mine.write("vectors.jsonl", [row for row in vectors() if row["text"] != "animal"])
    assert error(dense(mine)) == (65, b"", [
        "pairs.jsonl line 4: query: no vector in vectors.jsonl",
        "hint: wanted: a row of role query with the same text, image, video, num_frames and instruction",
    ])  # fmt: skip


def test_a_vector_under_the_wrong_role_is_named(mine: Runner) -> None:
    mine.write("vectors.jsonl", [changed(row, role="query") for row in vectors()])
    assert error(dense(mine)) == (65, b"", [
        "pairs.jsonl line 4: positive: no vector in vectors.jsonl",
        'hint: a row of role query has this content: give it "role": "candidate"',
    ])  # fmt: skip


def test_pairs_without_vector_can_be_skipped_and_are_no_targets(mine: Runner) -> None:
    mine.write("vectors.jsonl", [row for row in vectors() if row["text"] not in ("dog", "banana")])
    done = dense(mine, "--on-error", "skip", "--allow-rejects", "2", "--rejects", "bad.jsonl")
    assert [row["id"] for row in done.rows] == ["a", "c", "e", "f"]
    found = {text for negatives in texts(done).values() for text in negatives}
    assert found == {"apple", "lemon", "cherry", "cat"}
    rejected = [json.loads(line) for line in (mine.work / "bad.jsonl").read_text().splitlines()]
    assert [(one["place"], one["row"]["id"]) for one in rejected] == [
        ("pairs.jsonl line 2", "b"), ("pairs.jsonl line 4", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("embedding", "fact"),
    [
        ([0.0, 0.0], "embedding has length 0, so it has no cosine"),
        ([1.0, 0.0, 0.0], "embedding has 3 dimensions, the rows before have 2"),
        (["NaN", 1], "embedding: expected a list of numbers"),
        (on_circle(200), "embedding differs from that of vectors.jsonl line 1 for the same content"),
    ],
)
def test_a_bad_vector_is_named(mine: Runner, embedding: list[Any], fact: str) -> None:
    mine.write("vectors.jsonl", [*vectors(), {"role": "query", "text": "new", "embedding": embedding},
                                 {"role": "query", "text": "red fruit", "embedding": embedding}])  # fmt: skip
    mine.write("pairs.jsonl", [*PAIRS, {"id": "g", "query": {"text": "new"}, "positive": {"text": "cat"}}])
    place = 12 if "differs" in fact else 11
    assert error(dense(mine)) == (65, b"", [f"vectors.jsonl line {place}: {fact}"])


def test_a_vector_that_is_not_finite_is_refused(mine: Runner) -> None:
    rows = [changed(row, embedding=[float("nan"), 1.0]) for row in vectors()]
    pq.write_table(pa.Table.from_pylist(rows), mine.work / "vectors.parquet")
    done = mine("mine-negatives", "pairs.jsonl", "--vectors", "vectors.parquet")
    assert error(done) == (65, b"", ["vectors.parquet row 10: embedding: expected finite numbers"])


def test_vectors_of_two_makers_are_not_mixed_unless_told(mine: Runner) -> None:
    old = [{**row, "fingerprint": "old"} for row in vectors()]
    mine.write("vectors.jsonl", [changed(row, fingerprint="new") for row in old])
    assert error(dense(mine)) == (65, b"", [
        "vectors.jsonl line 10: fingerprint new differs from fingerprint old of the rows before",
        "hint: embed both sides with the same model and options, or --allow-mixed-fingerprints",
    ])  # fmt: skip
    assert dense(mine, "--allow-mixed-fingerprints").exit_code == 0


def test_an_empty_stream_is_an_error(mine: Runner) -> None:
    done = mine("mine-negatives", "--method", "random", stdin=b"")
    assert error(done) == (65, b"", ["stdin: no pairs to mine for"])


def test_a_dataset_with_one_target_ends_short(mine: Runner) -> None:
    mine.write("pairs.jsonl", PAIRS[:1])
    done = dense(mine, "--summary", "summary.json")
    assert done.rows[0]["negatives"] == []
    assert json.loads((mine.work / "summary.json").read_bytes())["short"] == 1


def test_more_negatives_than_targets_are_counted_short(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "100", "--on-short", "fill-random")
    assert {len(row["negatives"]) for row in done.rows} == {4}
    assert b"6 pairs short" in done.stderr


def test_media_of_two_folders_are_not_mixed(vlm2vec: Runner) -> None:
    for folder in "ab":
        (vlm2vec.work / folder).mkdir()
        Image.new("RGB", (4, 4), (ord(folder), 0, 0)).save(vlm2vec.work / folder / "x.png")
        pair = {"query": {"text": folder}, "positive": {"image": "x.png"}}
        vlm2vec.write(f"{folder}/pairs.jsonl", [pair])
    done = vlm2vec("mine-negatives", "a/pairs.jsonl", "b/pairs.jsonl", "--method", "random")
    code, stdout, lines = error(done)
    assert (code, stdout) == (65, b"")
    assert lines[0].startswith("media of default are resolved against ")
    assert lines[1] == "hint: --media-root DIR, with references that start from one folder"


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ("", ["--method dense needs vectors", "hint: add -m MODEL or --vectors FILE"]),
        ("-m tiny --vectors v", ["--model and --vectors exclude each other"]),
        (
            "--method random --max-score 1",
            ["--max-score has no use with --method random: it has no scores"],
        ),
        (
            "--method labels",
            ["--method labels needs vectors", "hint: add -m MODEL or --vectors FILE or --neighbors FILE"],
        ),
        (
            "-m tiny --neighbors-out n",
            ["--neighbors-out has no use with --method dense: it has no labels"],
        ),
        ("-m tiny --relative-margin 5", ["--relative-margin: expected 0 to 1, got 5"]),
        (
            "-m tiny --range-min 3 --range-max 5",
            [
                "--range-max 5 leaves 2 of 3 negatives",
                "hint: raise --range-max, or lower --range-min or --num-negatives",
            ],
        ),
        ("-m tiny --min-score 0.5 --max-score 0.1", ["--min-score 0.5 is above --max-score 0.1"]),
    ],
)
def test_options_that_do_not_go_together(mine: Runner, args: str, lines: list[str]) -> None:
    assert error(mine("mine-negatives", "pairs.jsonl", *args.split())) == (2, b"", lines)


def test_no_negatives_cannot_be_asked_for(mine: Runner) -> None:
    code, stdout, lines = error(dense(mine, "--num-negatives", "0"))
    assert (code, stdout) == (2, b"")
    assert "--num-negatives" in lines[0]


@pytest.mark.parametrize("name", ["--summary", "--audit"])
def test_side_files_that_cannot_be_written_are_refused_before_the_work(mine: Runner, name: str) -> None:
    (mine.work / "vectors.jsonl").write_text("not read")
    code, stdout, lines = error(dense(mine, name, "-"))
    assert (code, stdout, lines[0]) == (2, b"", f"{name} needs a file: stdout carries the pairs")
    code, stdout, lines = error(dense(mine, name, "nowhere/file"))
    assert (code, stdout) == (2, b"")
    assert "nowhere" in lines[0]


def test_a_missing_file_of_vectors_is_named(mine: Runner) -> None:
    done = mine("mine-negatives", "pairs.jsonl", "--vectors", "none.parquet")
    assert error(done) == (66, b"", ["none.parquet: no such file"])


def test_faiss_is_asked_for_where_it_is_not_installed(mine: Runner) -> None:
    mine.write("blocked/faiss.py", "raise ImportError")
    done = mine(
        "mine-negatives", "pairs.jsonl", "--vectors", "vectors.jsonl", "--backend", "faiss",
        env={"PYTHONPATH": str(mine.work / "blocked")},
    )  # fmt: skip
    assert error(done) == (69, b"", [
        "--backend faiss: faiss is not installed",
        "hint: pip install 'vlm2vec-cli[faiss]', or --backend exact",
    ])  # fmt: skip
