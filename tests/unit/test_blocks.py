"""Blocks are rows: the same bytes, the same cuts, the same errors."""

import threading
from collections.abc import Iterator

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.streams.blocks import Block, Piece, ahead, count, first, flat, weighted

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just('\\"image":null,"text":null,')
SIDE = st.one_of(
    st.builds(lambda text: {"text": text}, TEXT),
    st.builds(lambda image: {"image": image}, TEXT),
    st.builds(lambda text, image: {"text": text, "image": image}, TEXT, TEXT),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXT,
            "dataset": TEXT,
            "query": SIDE,
            "positive": SIDE,
            "negatives": st.lists(SIDE, max_size=3),
        }
    ),
    max_size=5,
)
CONTENT = pl.Struct({"text": pl.String, "image": pl.String})
SCHEMA = {
    "id": pl.String,
    "dataset": pl.String,
    "query": CONTENT,
    "positive": CONTENT,
    "negatives": pl.List(CONTENT),
}


def block(rows: list[Row]) -> Block:
    return Block(pl.DataFrame(rows, schema=SCHEMA))


@given(ROWS)
def test_lines_of_a_block_are_those_of_its_rows(rows: list[Row]) -> None:
    rows = [{name: row[name] for name in SCHEMA} for row in rows]
    made = block(rows)
    assert list(made.rows()) == rows
    lines = [orjson.dumps({"schema": PAIR.tag, **row}, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
    assert bytes(made.lines(PAIR)) == b"".join(lines)


def numbered(low: int, high: int) -> list[Row]:
    side = {"text": "x"}
    return [
        {"id": str(number), "dataset": "d", "query": side, "positive": side, "negatives": []}
        for number in range(low, high)
    ]


@pytest.mark.parametrize("wanted", range(1, 9))
def test_the_first_rows_are_the_same_in_blocks_and_alone(wanted: int) -> None:
    pieces: list[Piece] = [block(numbered(0, 3)), *numbered(3, 5), block(numbered(5, 7))]
    assert list(flat(first(pieces, wanted))) == numbered(0, min(wanted, 7))
    assert count(pieces) == 7


def test_a_weight_reaches_every_row() -> None:
    pieces = [weighted(piece, 0.5) for piece in (block(numbered(0, 2)), *numbered(2, 3))]
    assert [row["weight"] for row in flat(pieces)] == [0.5] * 3


def test_ahead_keeps_order_and_raises_where_making_failed() -> None:
    def making() -> Iterator[Piece]:
        yield from numbered(0, 5)
        raise ValueError("no more")

    got: list[Piece] = []
    with pytest.raises(ValueError, match="no more"):
        got.extend(ahead(making()))
    assert got == numbered(0, 5)


def test_ahead_stops_its_thread_when_nobody_listens() -> None:
    made: list[int] = []

    def endless() -> Iterator[Piece]:
        number = 0
        while True:
            made.append(number)
            yield from numbered(number, number + 1)
            number += 1

    before = threading.active_count()
    pieces = ahead(endless())
    assert next(pieces) == numbered(0, 1)[0]
    pieces.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(made) < 10
