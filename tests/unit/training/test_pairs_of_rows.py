"""Rows of a file as training pairs: what comes back, what is refused, what the digest knows."""

from pathlib import Path

import pytest

from pairs import pair, records
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.training.pairs import Pairs


def test_a_weight_below_0_is_refused() -> None:
    with pytest.raises(DataError, match=r"weight: expected a number from 0") as raised:
        Pairs(records([pair("a", "A"), pair("b", "B", weight=-1)]))
    assert raised.value.place == "pairs.jsonl line 2"


def test_no_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="no pairs to train on"):
        Pairs([])


def test_the_digest_knows_the_data_and_not_where_it_lies(tmp_path: Path) -> None:
    rows = [pair("a", {"image": "1.png"}, "n"), pair("b", "B")]
    digest = Pairs(records(rows)).digest
    assert Pairs(records(rows, tmp_path)).digest == digest
    for changed in (
        rows[::-1],
        rows[:1],
        [pair("a", {"image": "2.png"}, "n"), rows[1]],
        [pair("a", {"image": "1.png"}, "m"), rows[1]],
        [pair("a", {"image": "1.png"}), rows[1]],
        [{**rows[0], "weight": 2}, rows[1]],
        [{**rows[0], "dataset": "d"}, rows[1]],
        [{**rows[0], "key": "k"}, rows[1]],
    ):
        assert Pairs(records(changed)).digest != digest


def test_all_texts_are_seen_by_the_tokenizer() -> None:
    rows = [pair("q", {"text": "p", "instruction": "i"}, "n", {"image": "x.png"})]
    assert list(Pairs(records(rows)).texts()) == ["q", "i", "p", "n"]


def test_rows_come_back_from_the_file_as_they_were() -> None:
    rows = [
        pair("ä", {"text": "A", "id": "1"}, {"text": "n", "image": "x.png"}, weight=2, key="k"),
        pair("b", {"video": ["1.png", "2.png"]}, positive_ids=["1"], dataset="d"),
        {**pair("c", {"image": "p.png"}), "modality": "visdoc"},
    ]
    pairs = Pairs(records(rows))
    assert [example.place for example in (one.query for one in pairs)] == [
        f"pairs.jsonl line {number}" for number in (1, 2, 3)
    ]
    for row, example in zip(rows, pairs, strict=True):
        assert example.query.content == row["query"]
        assert example.positive.content == row["positive"]
        assert [one.content for one in example.negatives] == row["negatives"]
    assert pairs.datasets == ["default", "d", "default"]
    assert pairs.modalities == ["text", "video", "visdoc"]
    assert pairs[-1].query.key == pairs[2].query.key


def test_only_the_first_rows_of_each_dataset() -> None:
    rows = [pair(str(number), "p", dataset="ab"[number % 2]) for number in range(7)]
    kept = Pairs(records(rows), per_dataset=[("*", 2)])
    assert [one.query.content["text"] for one in kept] == ["0", "1", "2", "3"]
    assert Pairs(records(rows[:4])).digest == kept.digest
    some = Pairs(records(rows), per_dataset=[("b*", 1), ("*", 3)])
    assert [one.query.content["text"] for one in some] == ["0", "1", "2", "4"]


def test_equal_positives_and_mined_batches_have_equal_numbers() -> None:
    rows = [pair("a", "A"), pair("b", "B"), pair("c", "A"), pair("d", "D", dataset="e")]
    plain = Pairs(records(rows))
    assert plain.mined is None
    one, other, same, last = plain.positives
    assert one == same
    assert len({one, other, last}) == 3
    mined = Pairs(records([{**row, "batch": 7} for row in rows[1:]] + rows[:1]))
    assert mined.mined is not None
    assert mined.mined.tolist() == [0, 0, 1, -1], "a batch is one of its dataset"
    assert mined.digest != Pairs(records(rows[1:] + rows[:1])).digest


def test_rows_that_contradict_themselves_are_refused_by_name() -> None:
    rows = [pair("a", "A", "n"), pair("b", "B", "n", "B"), pair("c", "C", weight=-1)]
    with pytest.raises(DataError) as raised:
        Pairs(records(rows))
    assert (raised.value.place, raised.value.fact) == ("pairs.jsonl line 2", "negative 2 equals the positive")
    assert raised.value.hint == "--on-error skip leaves such rows out"
    refused: list[UserError] = []
    kept = Pairs(records(rows), reject=refused.append)
    assert [error.place for error in refused] == ["pairs.jsonl line 2", "pairs.jsonl line 3"]
    assert kept.digest == Pairs(records(rows[:1])).digest
