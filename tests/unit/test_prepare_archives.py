"""The same data unpacked and in archives: the same rows, but for where the media lie."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import raw_data
import raw_sets
import raw_tasks
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request

ARCHIVES = {
    "MSCOCO_t2i": ("image-tasks/T", "image-tasks/mmeb_v1.tar", "MMEB/T/"),
    "CIRR": ("image-tasks", "image-tasks.zip", ""),
    "SmthSmthV2": ("video-tasks/frames/video_cls", "video-tasks/frames/video_cls.tar", ""),
    "MSR-VTT": ("video-tasks/frames/video_ret", "video-tasks/frames/video_ret.zip", "video_ret/"),
    "QVHighlight": ("video-tasks/frames/video_mret", "video-tasks/frames/video_mret.tar", "video_mret/"),
    "MomentSeeker": ("video-tasks/frames/video_mret", "video-tasks/frames/video_mret.tar", "video_mret/"),
    "MVBench": ("video-tasks/frames/video_qa", "video-tasks/frames/video_qa.tar", "video_qa/"),
}
"""Task to the folder that is packed, the archive, and what its names begin with."""


def never(error: UserError) -> None:
    raise error


def rows_of(root: Path, task: str, **asked: Any) -> list[dict[str, Any]]:
    return list(plan(Request("mmeb-v2", root=str(root), names=(task,), **asked)).rows(root, never))


def media_of(root: Path, row: dict[str, Any]) -> list[bytes]:
    """The pixels a row leads to."""
    media = MediaReader()
    if "image" in row:
        return [media.image(row["image"], root).tobytes()]
    if "video" in row:
        return [frame.tobytes() for frame in media.frames(row["video"], root, num_frames=8)]
    return []


def bare(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("image", "video")}


@pytest.mark.parametrize("task", ARCHIVES)
def test_an_archive_gives_the_rows_and_pixels_of_its_folder(tmp_path: Path, task: str) -> None:
    raw_tasks.mmeb_v2(tmp_path, task)
    unpacked = rows_of(tmp_path, task)
    pixels = [media_of(tmp_path, row) for row in unpacked]
    sampled = [row["id"] for row in rows_of(tmp_path, task, sample=1)]
    folder, archive, top = ARCHIVES[task]
    raw_data.pack(tmp_path / folder, tmp_path / archive, top=top)
    packed = rows_of(tmp_path, task)
    assert [bare(row) for row in packed] == [bare(row) for row in unpacked]
    assert [media_of(tmp_path, row) for row in packed] == pixels
    assert all("!" in json.dumps(row) for row in packed if "image" in row or "video" in row)
    assert [row["id"] for row in rows_of(tmp_path, task, sample=1)] == sampled


@pytest.mark.parametrize(
    ("task", "deeper"),
    [
        ("MSR-VTT", "video-tasks/frames/video_ret/data/ziyan/video_retrieval/MSR-VTT/frames"),
        ("Charades-STA", "video-tasks/frames/video_mret/Charades_STA"),
        ("EgoSchema", "video-tasks/frames/video_qa/egoschema"),
        ("MSCOCO_t2i", "image-tasks/MMEB"),
    ],
)
def test_folders_as_the_archives_have_them(tmp_path: Path, task: str, deeper: str) -> None:
    raw_tasks.mmeb_v2(tmp_path, task)
    usual = rows_of(tmp_path, task)
    kept = next(value for row in usual for value in (row.get("image") or row.get("video"),) if value)
    first = kept if isinstance(kept, str) else kept[0]
    from vlm2vec_cli import catalogue

    local = catalogue.tasks()[task]["local"]
    top = tmp_path / str(local.get("frame_root") or local["image_root"])
    assert first.startswith(top.relative_to(tmp_path).as_posix())
    shutil.move(top, tmp_path / "aside")
    (tmp_path / deeper).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tmp_path / "aside", tmp_path / deeper)
    moved = rows_of(tmp_path, task)
    assert [bare(row) for row in moved] == [bare(row) for row in usual]
    assert all(deeper in json.dumps(row) for row in moved if "image" in row or "video" in row)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_compressed_archive_is_refused_with_a_command_that_works(tmp_path: Path, parts: int) -> None:
    raw_tasks.mmeb_v2(tmp_path, "EgoSchema")
    folder, archive = tmp_path / "video-tasks/frames/video_qa", tmp_path / "video-tasks/frames/video_qa.tar"
    unpacked = rows_of(tmp_path, "EgoSchema")
    raw_data.pack(folder, archive, top="video_qa/")
    whole = archive.read_bytes()
    archive.unlink()
    size = -(-len(whole) // parts)
    for number in range(parts):  # each part is a gzip member of its own
        name = f"{archive.name}.gz" + (f"-{number:02}" if parts > 1 else "")
        archive.with_name(name).write_bytes(gzip.compress(whole[number * size : (number + 1) * size]))
    with pytest.raises(UserError, match="video idx: not in") as caught:
        rows_of(tmp_path, "EgoSchema")
    (listed,) = plan(Request("mmeb-v2", root=str(tmp_path), names=("EgoSchema",), list=True)).listing()
    (missing,) = listed["missing"]
    assert missing["command"] in str(caught.value.hint)
    subprocess.run(missing["command"], shell=True, check=True)
    assert [bare(row) for row in rows_of(tmp_path, "EgoSchema")] == [bare(row) for row in unpacked]


def test_chunks_of_frames_are_read_in_place(tmp_path: Path) -> None:
    raw_sets.llava_hound(tmp_path)

    def pairs() -> list[dict[str, Any]]:
        found = plan(Request("llava-hound", root=str(tmp_path))).rows(tmp_path, never)
        return [{**row, "query": bare(row["query"]), "positive": bare(row["positive"])} for row in found]

    unpacked = pairs()
    frames = tmp_path / "train_300k"
    for number, name in enumerate(("v_a-Scene-001", "v_b-Scene-002", "v_c-Scene-003")):
        raw_data.pack(frames / name, frames / f"chunk_{number % 2}{number}.tar", top=f"{name}/")
    assert pairs() == unpacked


def test_a_link_that_leads_nowhere_is_no_picture(tmp_path: Path) -> None:
    raw_tasks.mmeb_v2(tmp_path, "MSCOCO_t2i")
    picture = tmp_path / "image-tasks/T/c.jpg"
    picture.unlink()
    picture.symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match=r"image T/c\.jpg: not in"):
        rows_of(tmp_path, "MSCOCO_t2i")
