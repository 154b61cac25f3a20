"""Rows to vector rows: which fields stay, and how vectors are stored."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec_cli.embedding import check_precision, embed, stored
from vlm2vec_cli.encoder import Input
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.item import ITEM


class Lengths:
    """An encoder whose vector is the length of the instruction and of the text; it refuses the text `bad`."""

    normalize = True

    def encode(
        self, inputs: Iterable[Input], reject: Callable[[UserError], None]
    ) -> Iterator[np.ndarray | None]:
        for one in [*inputs]:  # all are read before the first is answered
            if one.content["text"] == "bad":
                reject(DataError("bad", place=one.place))
                yield None
            else:
                lengths = [len(one.content.get("instruction", "")), len(one.content["text"])]
                yield np.array(lengths, dtype=np.float32)


def rows(*given: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    origin = Origin("rows.jsonl", Path(), "line")
    records = (
        Record(ITEM.parse(dict(row), str(number)), origin, number)
        for number, row in enumerate(given, start=1)
    )
    rejected = options.pop("rejected", [])
    encoder: Any = Lengths()
    return [*embed(records, encoder, rejected.append, **options)]


def test_rows_keep_their_order_and_their_fields() -> None:
    rejected: list[UserError] = []
    found = rows({"text": "a", "size": 3}, {"text": "bad"}, {"text": "bbb", "id": "x"}, rejected=rejected)
    assert [(row["id"], row["embedding"].tolist()) for row in found] == [("1", [0, 1]), ("x", [0, 3])]
    assert found[0]["size"] == 3
    assert "schema" not in found[0]
    assert [error.place for error in rejected] == ["rows.jsonl line 2"]


def test_an_instruction_is_for_rows_without_one_and_is_not_written() -> None:
    found = rows({"text": "a"}, {"text": "a", "instruction": "i"}, instruction="five!")
    assert [row["embedding"].tolist() for row in found] == [[5, 1], [1, 1]]
    assert ["instruction" in row for row in found] == [False, True]


def test_fields_that_stay() -> None:
    row = {"text": "a", "colour": "red", "size": 3, "relevant": {"x": 1}}
    own = {"id", "dataset", "role", "embedding"}
    assert set(rows(row)[0]) == own | set(row)
    assert set(rows(row, keep=["colour"])[0]) == own | {"colour"}
    assert set(rows(row, drop=["colour", "relevant"])[0]) == own | {"text", "size"}
    assert set(rows(row, keep=["colour", "size"], drop=["size"])[0]) == own | {"colour"}


def test_facts_about_an_older_vector_go() -> None:
    older = {
        "text": "a",
        "model": "m",
        "fingerprint": "f",
        "revision": "r",
        "precision": "int8",
        "embedding": [1],
    }
    assert set(rows(older)[0]) == {"id", "dataset", "role", "text", "embedding"}


def test_stored_forms() -> None:
    vector = np.array([1, -1, 0.5, 0, -0.001, 0.3, 1e-9, 0.2, 0.7], dtype=np.float32)
    assert stored(vector, "float32").dtype == np.float32
    assert stored(vector, "float16").dtype == np.float16
    assert stored(vector, "int8").tolist() == [127, -127, 64, 0, 0, 38, 0, 25, 89]
    assert stored(vector / 8, "int8").tolist() == stored(vector, "int8").tolist()
    assert stored(vector * 0, "int8").tolist() == [0] * 9
    assert stored(vector, "int8").dtype == np.int8
    assert stored(vector, "binary").tolist() == [0b10100111, 0b10000000]


def test_precisions_that_cannot_be() -> None:
    for precision in ("float32", "float16", "binary"):
        check_precision(precision, False)
    check_precision("int8", True)
    with pytest.raises(UsageError, match="needs normalised vectors"):
        check_precision("int8", False)
    with pytest.raises(UsageError, match="unknown 'int4'"):
        check_precision("int4", True)
