"""Inputs are prepared once where memory allows, and never kept beyond it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import golden
from vlm2vec_cli.backbones import Encoded
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.training.encodings import Encodings, size
from vlm2vec_cli.training.examples import Side


class Counting:
    """A backbone whose inputs are all 80 bytes."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, content: Any, root: Path, media: Any) -> Encoded:
        if content["text"] == "bad":
            raise DataError("cannot be read")
        self.encoded.append(content["text"])
        return Encoded(np.zeros(10, dtype=np.int64), (), np.empty(0, dtype=np.int64))


def side(name: str) -> Side:
    return Side({"text": name}, name, Path(), f"row {name}")


def asked(budget: int, *steps: str) -> list[str]:
    """What had to be encoded, when each step asks for each of its letters in turn."""
    backbone = Counting()
    encodings = Encodings(backbone, golden.media(), workers=1, budget=budget)  # type: ignore[arg-type]
    for step in steps:
        encodings.begin()
        for name in step:
            encodings.get([side(name)])
    encodings.close()
    return backbone.encoded


def test_what_fits_is_encoded_once() -> None:
    assert size(Counting().encode({"text": "a"}, Path(), None)) == 80
    assert asked(800, "abab", "bc") == ["a", "b", "c"]


def test_the_second_pass_finds_the_beginning_of_the_first() -> None:
    assert asked(160, "abcabc") == ["a", "b", "c", "c"]


def test_earlier_steps_leave_first() -> None:
    assert asked(160, "ab", "cc", "b") == ["a", "b", "c"]
    assert asked(160, "ab", "cd", "cd") == ["a", "b", "c", "d"]


def test_an_input_larger_than_the_budget_is_not_kept() -> None:
    assert asked(10, "aa") == ["a", "a"]


def test_errors_have_their_rows_place_and_the_rest_goes_on() -> None:
    encodings = Encodings(Counting(), golden.media(), workers=2, budget=800)  # type: ignore[arg-type]
    bad: dict[str, UserError] = {}
    found = [key for key, _ in encodings.stream({name: side(name) for name in ("a", "bad", "b")}, bad)]
    assert found == ["a", "b"]
    assert [str(error) for error in bad.values()] == ["row bad: cannot be read"]
    with pytest.raises(DataError, match="row bad: cannot be read"):
        encodings.get([side("bad")])
    encodings.close()
