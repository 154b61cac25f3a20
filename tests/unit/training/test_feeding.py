"""Rows whose media cannot be read: left out and counted, or named."""

from dataclasses import replace
from pathlib import Path

import pytest

from pairs import SMALL, same, steps, texts
from vlm2vec_cli.errors import DataError, MissingError, UserError


def test_rows_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    lost = {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}
    rows = [*texts(3), lost, {**texts(4)[3], "negatives": [lost["query"]]}]
    refused: list[UserError] = []
    options = replace(SMALL, batch_size=5, max_steps=2, lora_dropout=0.2)
    found = steps(rows, tmp_path / "run", options, reject=refused.append)
    assert sorted(error.place for error in refused) == ["pairs.jsonl line 4", "pairs.jsonl line 5"]
    assert all(error.fact.startswith("image nowhere.png: ") for error in refused)
    assert [event["rows_left_out"] for event in found] == [2, 2]
    alone = steps(texts(3), tmp_path / "alone", replace(options, batch_size=3))
    assert found[0]["loss"] == pytest.approx(alone[0]["loss"], rel=1e-5), "as if the rows were not there"
    with pytest.raises(DataError, match="no row of step 1 can be read"):
        steps([lost], tmp_path / "none", options, reject=refused.append)


def test_a_run_with_unreadable_rows_goes_on_to_the_bit(tmp_path: Path) -> None:
    rows = [*texts(5), {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}]
    options = replace(SMALL, max_steps=4, lora_dropout=0.3, batch_size=4)
    whole = steps(rows, tmp_path / "whole", options, reject=lambda error: None)
    steps(rows, tmp_path / "cut", replace(options, max_steps=3, save_steps=2), reject=lambda error: None)
    rest = steps(rows, tmp_path / "cut", options, reject=lambda error: None)
    assert [event["loss"] for event in rest] == [event["loss"] for event in whole[2:]]
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_picture_that_is_missing_is_named_with_its_row(tmp_path: Path) -> None:
    rows = [*texts(1), {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}]
    with pytest.raises(MissingError) as raised:
        steps(rows, tmp_path / "run", SMALL)
    assert raised.value.place == "pairs.jsonl line 2"
    assert raised.value.fact.startswith("image nowhere.png: ")
