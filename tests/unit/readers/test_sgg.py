import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raw_data
import raw_sets
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request
from vlm2vec_cli.readers import sgg

DOG = "<|object_ref_start|>dog<|object_ref_end|>"
BENCH = "<|object_ref_start|>bench<|object_ref_end|>"
DOG_BOX = "<|box_start|>(0, 100), (500, 600)<|box_end|>"
BENCH_BOX = "<|box_start|>(250, 500), (999, 999)<|box_end|>"


def never(error: UserError) -> None:
    raise error


def rows_of(root: Path, path: Path, **asked: Any) -> list[dict[str, Any]]:
    return list(plan(Request("sgg", paths=(str(path),), root=str(root), **asked)).rows(root, never))


def trained(subject: str, subject_box: str, object_: str, object_box: str) -> str:
    return (
        f"<image> In the given image, the subject {subject} is located at {subject_box}, the object "
        f"{object_} is located at {object_box}. Please return the predicate relationship between the subject "
        "and the object."
    )


def test_relations_become_pairs_that_know_every_right_predicate(tmp_path: Path) -> None:
    train, _ = raw_sets.scene_graph(tmp_path)
    query = {"text": trained(DOG, DOG_BOX, BENCH, BENCH_BOX), "image": "VG150/1234.jpg"}
    on, near, under = (
        {"text": f"The subject is {one} the object.", "id": one} for one in ("on", "near", "under")
    )
    nameless = trained(
        "<|object_ref_start|>objectA<|object_ref_end|>",
        BENCH_BOX,
        "<|object_ref_start|>objectB<|object_ref_end|>",
        DOG_BOX,
    )
    whole = {"dataset": "sgg", "negatives": []}
    assert rows_of(tmp_path, train) == [
        {**whole, "id": "0", "query": query, "positive": on, "positive_ids": ["on", "near"]},
        {**whole, "id": "1", "query": query, "positive": near, "positive_ids": ["on", "near"]},
        {**whole, "id": "2", "query": {"text": nameless, "image": "VG150/1234.jpg"}, "positive": under,
         "positive_ids": ["under"]},
    ]  # fmt: skip


def test_pictures_become_a_query_for_each_ordered_pair(tmp_path: Path) -> None:
    _, graphs = raw_sets.scene_graph(tmp_path)
    rows = rows_of(tmp_path, graphs, no_relation=True)
    facts = {
        "dataset": "sgg", "role": "query", "image": "VG150/1234.jpg", "modality": "image",
        "task_type": "predicate classification", "image_id": "1234",
    }  # fmt: skip
    assert rows[:2] == [
        {**facts, "id": "1234:0:1", "text": trained(DOG, DOG_BOX, BENCH, BENCH_BOX), "subject_id": "0",
         "object_id": "1", "subject": "dog", "object": "bench", "relevant": {"on": 1.0, "lying on": 1.0}},
        {**facts, "id": "1234:1:0", "text": trained(BENCH, BENCH_BOX, DOG, DOG_BOX), "subject_id": "1",
         "object_id": "0", "subject": "bench", "object": "dog", "relevant": {}},
    ]  # fmt: skip
    candidates = rows[2:]
    assert len(candidates) == 51
    assert sum(row["novel"] for row in candidates) == 15
    assert candidates[0] == {"id": "above", "dataset": "sgg", "role": "candidate",
                             "text": "The subject is above the object.", "novel": False}  # fmt: skip
    assert candidates[-1]["text"] == "The subject is no relation the object."


def test_the_prompt_of_the_published_evaluation_lacks_blanks(tmp_path: Path) -> None:
    _, graphs = raw_sets.scene_graph(tmp_path)
    query = rows_of(tmp_path, graphs, prompt="evaluation", side="query")[0]
    assert query["text"] == (
        f"<image> In the given image, the subject {DOG} is located at {DOG_BOX},the object{BENCH} is located "
        f"at {BENCH_BOX}.Please describe the predicate relationship between the subject and the object as "
        "the subject is *predicate* the object."
    )


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    _, graphs = raw_sets.scene_graph(tmp_path)
    words = raw_data.put(tmp_path, "words.txt", b"on, lying on, next to\n")
    rows = rows_of(tmp_path, graphs, predicates=str(words), side="candidate")
    assert [(row["id"], row["novel"]) for row in rows] == [
        ("on", False),
        ("lying on", True),
        ("next to", False),
    ]
    words.write_text("on, near")
    with pytest.raises(DataError, match="'lying on' is not in the vocabulary"):
        rows_of(tmp_path, graphs, predicates=str(words))


BOX = st.lists(st.integers(-50, 400), min_size=4, max_size=4)


@given(BOX, st.integers(1, 300), st.integers(1, 300))
def test_boxes_are_ordered_thousandths_that_are_never_empty_unless_at_the_edge(
    box: list[int], width: int, height: int
) -> None:
    text = sgg.box_text(box, (width, height))
    numbers = [
        int(one)
        for one in text.replace("(", " ").replace(")", " ").replace(",", " ").split()
        if one.isdigit()
    ]
    left, top, right, bottom = numbers
    for low, high in ((left, right), (top, bottom)):
        assert 0 <= low <= high <= 999
        assert low < high or low == 999


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [1, 2, 3, "4"], "1,2,3,4"])
def test_what_is_no_box_is_no_text(box: Any) -> None:
    assert sgg.box_text(box, (10, 10)) == ""


def test_a_list_is_read_an_entry_at_a_time_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm2vec_cli.readers import _json

    listed = [{"n": number, "t": '\u00e9 ] } [ { \\ "'} for number in range(5)]
    text = json.dumps(listed, ensure_ascii=False, indent=1)
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr(_json, "CHUNK_BYTES", size)
        path = raw_data.put(tmp_path, "list.json", text.encode())
        # None in place of the raw data: a list has no lines to reject, so nothing is asked of it.
        assert [row.values for row in _json.elements(str(path), None)] == listed  # type: ignore[arg-type]
    path.write_text(text[:-10])
    with pytest.raises(DataError, match="entry 5: the list ends in the middle of an entry"):
        list(_json.elements(str(path), None))  # type: ignore[arg-type]


def test_bad_files_are_said_in_a_line(tmp_path: Path) -> None:
    train, graphs = raw_sets.scene_graph(tmp_path)
    with pytest.raises(UsageError, match="do not become one stream"):
        plan(Request("sgg", paths=(str(train), str(graphs)), root=str(tmp_path)))
    with pytest.raises(UsageError, match="not from stdin"):
        plan(Request("sgg", paths=("-",), root=str(tmp_path)))
    samples = json.loads(train.read_text())
    samples[1]["object"]["bbox"] = [1, 2]
    train.write_text(json.dumps(samples))
    with pytest.raises(DataError, match=r"train.json entry 2: object: expected a box of four numbers"):
        rows_of(tmp_path, train)
