from pathlib import Path

import pytest

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media.cells import Part, Table, read_cell
from vlm2vec_cli.media.handles import Handles
from vlm2vec_cli.schemas.media_ref import Cell


def cell(root: Path, column: str, row: int, element: int | None = None) -> list[Part]:
    return read_cell(
        Table(str(root / "c.parquet"), "c.parquet"), ("key",), Cell(column, row, element), Handles()
    )


def test_bytes_win_over_the_path_beside_them(root: Path, png: bytes) -> None:
    assert cell(root, "image", 1) == [png]
    assert cell(root, "image", 2) == ["z.zip!d/a.png"]


def test_lists_bytes_text_and_nested_fields(root: Path, png: bytes, frame_pngs: list[bytes]) -> None:
    assert cell(root, "list", 0) == frame_pngs
    assert cell(root, "list", 0, 3) == [frame_pngs[3]]
    assert cell(root, "content", 2) == [png]
    assert cell(root, "name", 1) == ["a.png"]
    assert cell(root, "query.image", 2) == [png]


def test_the_references_own_layout_of_parallel_lists(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"paths": ["a.png", "b.png", ""], "bytes": [b"x", None, None], "resolutions": [[1, 1]]}]
    parquet.write_table(pa.table({"neg_image": rows}), tmp_path / "c.parquet")
    assert cell(tmp_path, "neg_image", 0) == [b"x", "b.png"]


@pytest.mark.parametrize(
    ("where", "fact"),
    [
        (("imgae", 0), "the Parquet file has no column 'imgae'"),
        (("image", 3), "the Parquet file has rows 0 to 2, no row 3"),
        (("image", 0), "column 'image' is empty in row 0"),
        (("content", 0), "column 'content' is empty in row 0"),
        (("list", 2), "column 'list' is empty in row 2"),
        (("list", 0, 12), "the list has elements 0 to 11, no element 12"),
        (("number", 0), "column 'number' holds int in row 0, expected bytes or a path"),
        (("query", 0), "column 'query' holds a struct of image in row 0, expected bytes or a path"),
        (("query.video", 0), "column 'query' has no field 'video' in row 0"),
    ],
)
def test_what_is_not_there_is_named(root: Path, where: tuple[str, int], fact: str) -> None:
    with pytest.raises(DataError) as caught:
        cell(root, *where)
    assert caught.value.fact == fact


def test_an_unknown_column_is_answered_with_the_nearest(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        cell(root, "imgae", 0)
    assert caught.value.hint == "did you mean 'image'?"


def test_only_the_row_group_asked_for_is_read_and_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, handles, groups = Table(str(root / "c.parquet"), "c.parquet"), Handles(), []
    read = table.read_group
    monkeypatch.setattr(table, "read_group", lambda *where: (groups.append(where), read(*where))[1])
    for row in (2, 2, 0, 1, 2):
        read_cell(table, ("key",), Cell("query.image", row), handles)
    assert groups == [(1, "query"), (0, "query")]


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"x" * 100])
def test_what_is_no_parquet_is_bad_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.parquet is no readable Parquet file"):
        Table(str(path), "c.parquet")
