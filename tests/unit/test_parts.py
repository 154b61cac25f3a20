"""Part files: the whole output however it was made, by whom, and however often it was interrupted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli import parts, streams
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.shards import Shard

WHOLE = Shard(0, 1)
FACTS = {"fingerprint": "f", "model": "m", "precision": "float32", "dim": 1, "normalize": True}


def records(number: int, text: str = "row") -> Iterator[Record]:
    for at in range(number):
        row = ITEM.parse({"text": f"{text} {at}"}, str(at))
        yield Record(row, Origin("rows.jsonl", Path(), "line"), at + 1)


def embed(some: Iterator[Record | None]) -> Iterator[dict[str, Any] | None]:
    """Every fifth row is one that cannot be read."""
    for record in filter(None, some):
        number = int(record.row["id"])
        vector = np.array([number], dtype=np.float32)
        yield None if number % 5 == 3 else {"id": record.row["id"], "embedding": vector}


def write(folder: Path, rows: Iterator[Record], shard: Shard = WHOLE, **options: Any) -> None:
    facts = {**FACTS, **options.pop("facts", {})}
    parts.write(rows, embed, folder, shard, facts, **{"size": 4, "resume": False, **options})


def ids(folder: Path) -> list[str]:
    with streams.Session([str(folder)]) as session:
        return [record.row["id"] for record in session.read(VECTOR)]


def expected(number: int) -> list[str]:
    return [str(at) for at in range(number) if at % 5 != 3]


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 9))
def test_all_shards_together_are_the_whole_in_order(
    tmp_path_factory: pytest.TempPathFactory, number: int, count: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    for index in reversed(range(count)):
        write(folder, records(number), Shard(index, count), size=size)
    assert ids(folder) == expected(number)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from list(records(10))
        raise DataError("not JSON")

    with pytest.raises(DataError, match="not JSON"):
        write(tmp_path, broken())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet",
        "part-000002.parquet.partial",
    ]
    before = (tmp_path / "part-000000.parquet").stat().st_mtime_ns
    (tmp_path / "part-000001.parquet").unlink()
    write(tmp_path, records(10), resume=True)
    assert ids(tmp_path) == expected(10)
    assert (tmp_path / "part-000000.parquet").stat().st_mtime_ns == before


def test_an_unfinished_part_has_another_name(tmp_path: Path) -> None:
    def stops(some: Iterator[Record]) -> Iterator[dict[str, Any] | None]:
        for at, row in enumerate(embed(some)):
            if at == 6:
                raise UserError("stopped")
            yield row

    with pytest.raises(UserError, match="stopped"):
        parts.write(records(10), stops, tmp_path, Shard(0, 1), FACTS, size=4, resume=False)
    assert ids(tmp_path) == expected(4)
    write(tmp_path, records(10), resume=True)
    assert ids(tmp_path) == expected(10)
    assert not [*tmp_path.glob("*.partial")]


@pytest.mark.parametrize(
    ("options", "error", "fact"),
    [
        ({}, UsageError, "this part is there already"),
        ({"resume": True, "facts": {"fingerprint": "g"}}, DataError, "made by the model f, not g"),
        ({"resume": True, "facts": {"precision": "int8"}}, DataError, "made from other input rows"),
        ({"resume": True, "size": 5}, DataError, "made from other input rows"),
        ({"resume": True, "number": 4}, DataError, "the input ends before this part"),
        ({"resume": True, "text": "other"}, DataError, "made from other input rows"),
    ],
)
def test_parts_of_another_run_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[UserError], fact: str
) -> None:
    write(tmp_path, records(10))
    rows = records(options.pop("number", 10), options.pop("text", "row"))
    with pytest.raises(error, match=fact) as raised:
        write(tmp_path, rows, **options)
    assert raised.value.place.startswith(str(tmp_path / "part-"))
    assert raised.value.hint
