"""Which targets a query may have in its denominator, and when two contents are one."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from pairs import pair, records
from vlm2vec_cli.losses.info_nce import loss
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.training.examples import content_key
from vlm2vec_cli.training.pairs import Batch, Choice, Pairs


def batch(rows: Sequence[dict], *, mask: bool = True, most: int | None = None) -> Batch:
    pairs = Pairs(records(rows))
    return pairs.batch(range(len(rows)), Choice(mask, most))


ANSWERS = [pair("a", "yes"), pair("b", "no", "maybe", "yes"), pair("c", "yes", "no")]


def allowed(rows: Sequence[dict], **more: Any) -> list[str]:
    """A line a query: x where a target counts, P its positive, - where it is masked."""
    made = batch(rows, **more)
    lines = []
    for row, positive in zip(made.allowed_BN.tolist(), made.positive_B.tolist(), strict=True):
        marks = ["x" if one else "-" for one in row]
        assert marks[positive] == "x", "a query's own positive always counts"
        marks[positive] = "P"
        lines.append("".join(marks))
    return lines


def test_everything_else_in_the_batch_is_a_negative() -> None:
    assert allowed([pair("a", "A"), pair("b", "B"), pair("c", "C")]) == ["Pxx", "xPx", "xxP"]


def test_duplicates_of_the_positive_are_masked_unless_told() -> None:
    assert allowed(ANSWERS) == ["Pxx--x", "xPxxx-", "-xx-Px"]
    assert allowed(ANSWERS, mask=False) == ["Pxxxxx", "xPxxxx", "xxxxPx"]


def test_the_loss_of_equal_vectors_is_the_log_of_what_is_left() -> None:
    made = batch(ANSWERS)
    same = functional.normalize(torch.ones(6, 4), dim=-1)
    losses = loss(same[:3], same, positive_B=made.positive_B, allowed_BN=made.allowed_BN, temperature=0.02)
    assert losses.tolist() == pytest.approx([math.log(4), math.log(5), math.log(4)], rel=1e-5)


def test_every_answer_that_the_file_gives_a_query_is_masked() -> None:
    rows = [pair("a", "A"), pair("a", "B"), pair("c", "C", "B")]
    assert allowed(rows) == ["P-x-", "-Px-", "xxPx"]
    pairs = Pairs(records(rows))
    made = pairs.batch([0, 2], Choice())
    assert made.allowed_BN.tolist() == [[True, True, False], [True, True, True]], "row 2 is not in the batch"


def test_equal_keys_answer_each_other() -> None:
    rows = [pair("a", "A", key="k"), pair("b", "B", key="k"), pair("c", "C", key="other"), pair("d", "D")]
    assert allowed(rows) == ["P-xx", "-Pxx", "xxPx", "xxxP"]
    apart = [{**rows[0], "dataset": "one"}, {**rows[1], "dataset": "two"}]
    assert allowed(apart) == ["Px", "xP"], "a key means something in its own dataset"


def test_positive_ids_name_other_answers() -> None:
    rows = [
        pair("a", {"text": "A", "id": "1"}, positive_ids=["1", "2"]),
        pair("b", {"text": "B", "id": "2"}),
        pair("c", {"text": "C", "id": "3"}, {"text": "N", "id": "1"}, {"text": "M", "id": "9"}),
    ]
    assert allowed(rows) == ["P-x-x", "xPxxx", "xxPxx"], "one answer does not become all that its row names"
    unnamed = [pair("a", "A", positive_ids=["1", "2"]), rows[1]]
    assert allowed(unnamed) == ["P-", "-P"], "a positive without id may be any of them"


def test_two_rows_that_share_an_answer_keep_the_answers_that_they_do_not_share() -> None:
    def relation(query: str, name: str, *names: str) -> dict:
        return pair(query, {"text": name, "id": name}, positive_ids=list(names))

    rows = [relation("a", "on", "on", "near"), relation("b", "near", "near", "holding")]
    rows.append(relation("c", "holding", "holding"))
    assert allowed(rows) == ["P-x", "xP-", "xxP"]


def test_negatives_may_be_of_any_number() -> None:
    rows = [pair("a", "A", "1", "2", "3"), pair("b", "B"), pair("c", "C", "4")]
    made = batch(rows)
    assert [side.content["text"] for side in made.targets] == ["A", "1", "2", "3", "B", "C", "4"]
    assert made.positive_B.tolist() == [0, 4, 5]
    assert made.allowed_BN.all()
    assert [side.content["text"] for side in batch(rows, most=1).targets] == ["A", "1", "B", "C", "4"]
    assert [side.content["text"] for side in batch(rows, most=0).targets] == ["A", "B", "C"]


def test_weights_come_with_their_rows() -> None:
    assert batch([pair("a", "A", weight=2), pair("b", "B")]).weight_B.tolist() == [2, 1]


def test_one_reference_under_two_roots_is_two_pictures(tmp_path: Path) -> None:
    def under(name: str, row: dict[str, Any]) -> Record:
        (record,) = records([row], tmp_path / name)
        return record

    rows = [pair("a", {"image": "1.png"}), pair("b", {"image": "1.png"})]
    apart = Pairs([under("x", rows[0]), under("y", rows[1])])
    made = apart.batch([0, 1], Choice())
    assert made.allowed_BN.all()
    assert made.targets[0].key != made.targets[1].key
    together = Pairs([under("x", rows[0]), under("x", rows[1])])
    made = together.batch([0, 1], Choice())
    assert made.targets[0].key == made.targets[1].key
    assert not made.allowed_BN[0, 1]


def test_contents_differ_in_every_field_that_the_model_sees() -> None:
    contents: list[dict[str, Any]] = [
        {"text": "a"},
        {"text": "b"},
        {"instruction": "a"},
        {"image": "a"},
        {"video": "a"},
        {"video": "a", "num_frames": 2},
        {"image": ["a", "b"]},
    ]
    assert len({content_key(one) for one in contents}) == len(contents)
    assert content_key({"text": "a", "score": 0.5, "rank": 1}) == content_key({"text": "a"})


def test_a_side_without_marks_is_a_plain_content() -> None:
    side = batch([pair("a", "A")]).targets[0]
    assert side.marks == frozenset()
    assert replace(side, place="x").key == side.key


def test_private_negatives_are_nobody_elses() -> None:
    rows = [pair("a", "A", "1", "2"), pair("b", "B", "3"), pair("c", "C")]
    made = Pairs(records(rows)).batch(range(3), Choice(private_negatives=True))
    assert [side.content["text"] for side in made.targets] == ["A", "1", "2", "B", "3", "C"]
    assert made.allowed_BN.tolist() == [
        [True, True, True, True, False, True],
        [True, False, False, True, True, True],
        [True, False, False, True, False, True],
    ]


def test_rows_without_a_content_are_left_out_and_named() -> None:
    rows = [pair("a", "A", "1"), pair("b", "B", "2"), pair("c", "C", "1")]
    pairs = Pairs(records(rows))
    gone = {content_key({"text": "1"})}
    made = pairs.batch(range(3), Choice(), without=gone)
    assert [side.content["text"] for side in made.queries] == ["b"]
    assert [side.place for side in made.left_out] == ["pairs.jsonl line 1", "pairs.jsonl line 3"]
    assert len(pairs.batch(range(3), Choice(num_hard_negatives=0), without=gone).queries) == 3, "not needed"
