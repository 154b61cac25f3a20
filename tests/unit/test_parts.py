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
        identity = {name: record.row[name] for name in ("id", "dataset", "role")}
        yield None if number % 5 == 3 else {**identity, "embedding": vector}


def write(folder: Path, rows: Iterator[Record], shard: Shard = WHOLE, **options: Any) -> None:
    folder.mkdir(exist_ok=True)
    facts = {**FACTS, **options.pop("facts", {})}
    reject = options.pop("reject", refuse)
    parts.write(rows, embed, folder, shard, facts, reject, **{"size": 4, "resume": False, **options})


def refuse(error: UserError) -> None:
    raise error


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
    write(tmp_path, records(10), resume=True, reject=lambda error: None)
    assert ids(tmp_path) == expected(10)
    assert (tmp_path / "part-000000.parquet").stat().st_mtime_ns == before


def test_an_unfinished_part_has_another_name(tmp_path: Path) -> None:
    def stops(some: Iterator[Record]) -> Iterator[dict[str, Any] | None]:
        for at, row in enumerate(embed(some)):
            if at == 6:
                raise UserError("stopped")
            yield row

    with pytest.raises(UserError, match="stopped"):
        parts.write(records(10), stops, tmp_path, Shard(0, 1), FACTS, refuse, size=4, resume=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet.partial",
    ]
    write(tmp_path, records(10), resume=True, reject=lambda error: None)
    assert ids(tmp_path) == expected(10)
    assert not [*tmp_path.glob("*.partial")]


@pytest.mark.parametrize(
    ("options", "error", "fact"),
    [
        ({}, UsageError, "this part is there already"),
        ({"resume": True, "facts": {"fingerprint": "g"}}, DataError, "made by the model f, not g"),
        ({"resume": True, "facts": {"precision": "int8"}}, DataError, "made from other input rows"),
        ({"resume": True, "facts": {"instruction": "Find:"}}, DataError, "made from other input rows"),
        ({"resume": True, "facts": {"keep": ["size"]}}, DataError, "made from other input rows"),
        ({"resume": True, "facts": {"drop": ["size"]}}, DataError, "made from other input rows"),
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
        write(tmp_path, rows, **{"reject": lambda error: None, **options})
    assert raised.value.place.startswith(str(tmp_path / "part-"))
    assert raised.value.hint


def test_an_input_that_ends_before_a_part_is_refused(tmp_path: Path) -> None:
    write(tmp_path, records(10))
    (tmp_path / "part-000000.parquet").unlink()
    (tmp_path / "part-000001.parquet").unlink()
    with pytest.raises(DataError, match="the input ends before this part") as raised:
        write(tmp_path, records(8), resume=True)
    assert raised.value.place == str(tmp_path / "part-000002.parquet")


@pytest.mark.parametrize("number", [9, 10, 12])
def test_an_input_that_goes_on_behind_the_last_part_is_gone_on_with(tmp_path: Path, number: int) -> None:
    write(tmp_path / "whole", records(number))
    write(tmp_path / "parts", records(8))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    write(tmp_path / "parts", records(number), resume=True, reject=lambda error: None)
    assert ids(tmp_path / "parts") == expected(number)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["part-000001.parquet"]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def test_rows_that_a_finished_part_was_made_without_are_rejected_again(tmp_path: Path) -> None:
    write(tmp_path, records(10))
    (tmp_path / "part-000000.parquet").unlink()
    rejected: list[UserError] = []
    write(tmp_path, records(10), resume=True, reject=rejected.append)
    part = tmp_path / "part-000002.parquet"
    assert [str(error) for error in rejected] == [f"rows.jsonl line 9: was rejected when {part} was made"]
    with pytest.raises(DataError, match=r"rows.jsonl line 4: was rejected when") as raised:
        write(tmp_path, records(10), resume=True)
    assert raised.value.hint == "--on-error skip, as then; or remove that part, and it is tried again"


@pytest.mark.parametrize("number", [8, 10])
def test_a_folder_in_which_a_part_is_missing_is_not_read(tmp_path: Path, number: int) -> None:
    """Also the last one, which none of its own but the one before it tells of."""
    write(tmp_path, records(number), Shard(0, 1))
    paths = sorted(tmp_path.iterdir())
    for path in paths:
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match="this part is missing") as raised:
            ids(tmp_path)
        assert raised.value.place == str(path)
        assert raised.value.hint == "the same vlm2vec embed with --resume makes it"
        path.write_bytes(data)
    assert ids(tmp_path) == expected(number)


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, records(3))
    (tmp_path / "part-000001.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"part-000001.parquet: not a readable Parquet file"):
        ids(tmp_path)


def test_files_of_other_programs_have_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, records(3))
    (tmp_path / "part-000000.parquet").rename(tmp_path / "part-00007-af3.parquet")
    assert ids(tmp_path) == expected(3)
