"""Labels as negatives of labels, and the file of neighbours."""

import json
from typing import Any

import pytest

from mining_files import Row, error, on_circle, texts
from runner import Done, Runner

RELATIONS = [("1", "man-horse", "riding"), ("2", "cup-table", "on"), ("3", "cup-table", "standing on"),
             ("4", "dog-bench", "under"), ("5", "boy-bike", "on top of")]  # fmt: skip
NEIGHBORS = {
    "on": {"neighbors": ["standing on", "on top of", "over", "riding"], "scores": [0.9, 0.8, 0.7, 0.2]},
    "riding": {"neighbors": ["on", "standing on"], "scores": [0.6, 0.5]},
    "standing on": {"neighbors": ["on", "on top of"], "scores": [0.9, 0.7]},
    "on top of": {"neighbors": ["on", "over", "standing on"], "scores": [0.8, 0.75, 0.7]},
}


def relations(vlm2vec: Runner, neighbors: Any = NEIGHBORS) -> None:
    rows = [
        {"id": id, "query": {"text": query}, "positive": {"text": label}} for id, query, label in RELATIONS
    ]
    vlm2vec.write("pairs.jsonl", rows)
    vlm2vec.write("neighbors.json", json.dumps(neighbors))


def labels(vlm2vec: Runner, *args: str) -> Done:
    return vlm2vec("mine-negatives", "pairs.jsonl", "--method", "labels", *args)


def test_given_neighbours_are_taken_in_order_then_random_labels(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    done = labels(vlm2vec, "--neighbors", "neighbors.json")
    found = {row["id"]: row["negatives"] for row in done.rows}
    assert found["2"] == [  # "standing on" is right for the same pair of things
        {"text": "on top of", "score": 0.8, "rank": 1, "source": "labels"},
        {"text": "over", "score": 0.7, "rank": 2, "source": "labels"},
        {"text": "riding", "score": 0.2, "rank": 3, "source": "labels"},
    ]
    assert [one["text"] for one in found["1"][:2]] == ["on", "standing on"]
    assert found["1"][2].keys() == {"text", "source"}
    assert found["1"][2]["source"] == "random"
    assert found["1"][2]["text"] in ("under", "on top of")
    assert [one["source"] for one in found["4"]] == ["random"] * 3


def test_labels_that_the_ids_of_a_pair_name_are_right_for_it(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    rows: list[Row] = [
        {
            "id": "1",
            "query": {"text": "q 1"},
            "positive": {"text": "on"},
            "positive_ids": ["on", "standing on"],
        },
        {"id": "2", "query": {"text": "q 2"}, "positive": {"text": "standing on"}},
        {"id": "3", "query": {"text": "q 3"}, "positive": {"text": "under"}, "positive_ids": ["over"]},
    ]
    vlm2vec.write("pairs.jsonl", rows)
    found = texts(labels(vlm2vec, "--neighbors", "neighbors.json", "--num-negatives", "9"))
    assert set(found["1"]) == {"on top of", "over", "riding", "under"}
    assert "on" in found["2"]
    assert "over" not in found["3"]


def test_a_label_that_a_list_names_twice_is_one_neighbour(vlm2vec: Runner) -> None:
    relations(vlm2vec, {"on": {"neighbors": ["under", " under", "riding"]}})
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--num-negatives", "2")
    assert [one["text"] for one in done.rows[1]["negatives"]] == ["under", "riding"]


def test_limits_hold_for_neighbours_and_what_they_refuse_does_not_come_back(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    limited = ("--max-score", "0.65", "--num-negatives", "5")
    found = texts(labels(vlm2vec, "--neighbors", "neighbors.json", *limited))
    assert set(found["5"]) == {"riding", "under"}


def test_only_the_first_neighbours_are_taken(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--num-neighbors", "1", "--num-negatives", "1")
    assert texts(done)["5"] == ["on"]


def test_neighbours_need_no_scores_unless_a_limit_does(vlm2vec: Runner) -> None:
    relations(vlm2vec, {"on": {"neighbors": ["under", "riding"]}})
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--num-negatives", "1")
    assert done.rows[1]["negatives"] == [{"text": "under", "rank": 1, "source": "labels"}]
    refused = labels(vlm2vec, "--neighbors", "neighbors.json", "--max-score", "0.5")
    assert error(refused) == (65, b"", ["neighbors.json: 'on': no scores, which --max-score needs"])


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ([], 'expected {label: {"neighbors": [...], "scores": [...]}}'),
        ({"on": ["under"]}, "'on': expected neighbors, a list of labels"),
        ({"on": {"neighbors": ["under"], "scores": []}}, "'on': expected scores, a number a neighbor"),
    ],
)
def test_a_file_that_is_no_neighbours_is_named(vlm2vec: Runner, content: Any, fact: str) -> None:
    relations(vlm2vec, content)
    assert error(labels(vlm2vec, "--neighbors", "neighbors.json")) == (65, b"", [f"neighbors.json: {fact}"])


def ranked(done: Done) -> list[list[Row]]:
    return [[one for one in row["negatives"] if "rank" in one] for row in done.rows]


def test_neighbours_are_computed_written_and_read_again(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    angles = {"riding": 0, "on": 10, "standing on": 25, "on top of": 45, "under": 100}
    rows = [
        {"role": "candidate", "text": text, "embedding": on_circle(angle)} for text, angle in angles.items()
    ]
    vlm2vec.write("vectors.jsonl", rows)
    asked = ("--num-neighbors", "2", "--num-negatives", "2")
    done = labels(vlm2vec, "--vectors", "vectors.jsonl", "--neighbors-out", "out.json", *asked)
    written = json.loads((vlm2vec.work / "out.json").read_bytes())
    assert list(written) == sorted(angles)
    assert written["on"] == {"neighbors": ["riding", "standing on"], "scores": [0.984808, 0.965926]}
    assert texts(done)["1"] == ["on", "standing on"]
    again = labels(vlm2vec, "--neighbors", "out.json", *asked)
    assert ranked(done) == ranked(again)


def test_labels_can_stand_in_another_field(vlm2vec: Runner) -> None:
    rows = [
        {
            "id": id,
            "query": {"text": query},
            "positive": {"text": f"It is {label} it."},
            "of": {"it": label},
        }
        for id, query, label in RELATIONS
    ]
    vlm2vec.write("neighbors.json", json.dumps(NEIGHBORS))
    vlm2vec.write("pairs.jsonl", rows)
    asked = ("--label-field", "of.it", "--num-negatives", "2")
    found = texts(labels(vlm2vec, "--neighbors", "neighbors.json", *asked))
    assert found["2"] == ["It is on top of it.", "It is riding it."]  # no pair has the sentence of "over"


def test_a_positive_with_a_picture_is_no_label(vlm2vec: Runner) -> None:
    vlm2vec.write("neighbors.json", "{}")
    vlm2vec.write("pairs.jsonl", [{"query": {"text": "q"}, "positive": {"text": "t", "image": "x.png"}}])
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--media-identity", "reference")
    assert error(done) == (65, b"", [
        "pairs.jsonl line 1: positive: expected a text alone, which is the label",
        "hint: --label-field FIELD names the field that holds the label",
    ])  # fmt: skip


def test_labels_of_two_datasets_do_not_fit_one_file(vlm2vec: Runner) -> None:
    rows = [
        {"dataset": "AB"[n % 2], "query": {"text": query}, "positive": {"text": label}}
        for n, (_, query, label) in enumerate(RELATIONS)
    ]
    vlm2vec.write("pairs.jsonl", rows)
    vectors = [
        {"role": "candidate", "text": label, "embedding": [1, n]} for n, (_, _, label) in enumerate(RELATIONS)
    ]
    vlm2vec.write("vectors.jsonl", vectors)
    done = labels(vlm2vec, "--vectors", "vectors.jsonl", "--neighbors-out", "out.json")
    assert error(done) == (65, b"", [
        "out.json: labels of 2 datasets (A, B) do not fit one file",
        "hint: --across-datasets, or one dataset at a time",
    ])  # fmt: skip
