"""The same data unpacked and packed: rows that differ in their references alone, and the same vectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raw_data
import raw_tasks
from warm import Warm

FRAMES = "video-tasks/frames/video_ret"
PAGES = {"a.png": {}, "b.jpg": {"form": "JPEG"}, "c.png": {"width": 60, "mode": "L"}}


def tarred_pictures(root: Path) -> None:
    raw_data.pack(root / "image-tasks/T", root / "image-tasks/mmeb_v1.tar", top="MMEB/T/")


def zipped_pictures(root: Path) -> None:
    raw_data.pack(root / "image-tasks", root / "image-tasks.zip")


def tarred_frames(root: Path) -> None:
    raw_data.pack(root / FRAMES, root / f"{FRAMES}.tar", top="video_ret/")


def zipped_frames(root: Path) -> None:
    raw_data.pack(root / FRAMES, root / f"{FRAMES}.zip", top="video_ret/")


def vectors(warm: Warm, name: str, *source: str) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """The rows without their references, and their vectors."""
    rows = warm("prepare", *source, "-o", f"{name}.jsonl")
    assert rows.exit_code == 0
    done = warm("embed", f"{name}.jsonl", "-m", "quickstart", "--num-frames", "2", "--format", "jsonl")
    assert done.exit_code == 0
    made = done.rows
    found = [row.pop("embedding") for row in made]
    return [{key: row[key] for key in row if key not in ("image", "video")} for row in made], found


@pytest.mark.parametrize(
    ("task", "packings"),
    [("MSCOCO_t2i", (tarred_pictures, zipped_pictures)), ("MSR-VTT", (tarred_frames, zipped_frames))],
)
def test_an_archive_gives_the_vectors_of_its_folder(
    warm: Warm, task: str, packings: tuple[Callable[[Path], None], ...]
) -> None:
    raw_tasks.mmeb_v2(warm.work / "unpacked", task)
    asked = ("mmeb-v2", "--task", task, "--root")
    unpacked = vectors(warm, "unpacked", *asked, "unpacked")
    assert len({tuple(one) for one in unpacked[1]}) > 2
    for pack in packings:
        raw_tasks.mmeb_v2(warm.work / pack.__name__, task)
        pack(warm.work / pack.__name__)
        assert vectors(warm, "packed", *asked, pack.__name__) == unpacked
        assert b"!" in (warm.work / "packed.jsonl").read_bytes()


def test_cells_give_the_vectors_of_their_files(warm: Warm) -> None:
    pages = {name: raw_data.encoded(**kind) for name, kind in PAGES.items()}
    for name, page in pages.items():
        raw_data.put(warm.work, name, page)
    raw_data.jsonl(warm.work, "files.jsonl", [{"id": name, "page": name} for name in pages])
    cells = [{"id": name, "page": {"bytes": page, "path": None}} for name, page in pages.items()]
    raw_data.parquet(warm.work, "cells.parquet", cells)
    mapping = ("--map", "image=page", "--map", "text==<image> What is it?")
    unpacked, packed = (
        vectors(warm, f"{name}-rows", "table", name, *mapping) for name in ("files.jsonl", "cells.parquet")
    )
    assert packed == unpacked
    assert len({tuple(one) for one in unpacked[1]}) == len(pages)
    assert b"cells.parquet!page[2]" in (warm.work / "cells.parquet-rows.jsonl").read_bytes()
