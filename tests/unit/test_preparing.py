"""What holds for all sources; the quickstart here is a small one, read through the readers of real sets."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import UsageError, UserError
from vlm2vec_cli.preparing import sources
from vlm2vec_cli.preparing.choose import sample
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request
from vlm2vec_cli.readers import References


def never(error: UserError) -> None:
    raise error


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "text": f"text {number}"} for number in range(count)]


def test_every_row_is_equally_likely_in_a_sample() -> None:
    counts: Counter[str] = Counter()
    for seed in range(3000):
        counts.update(row["id"] for row in sample(numbered(6), 2, str(seed)))
    assert all(abs(count - 1000) < 5 * 26 for count in counts.values())
    assert len(counts) == 6


def test_a_sample_of_more_than_there_is_is_all() -> None:
    assert sample(numbered(3), 5, "0") == numbered(3)


def test_references_follow_links_and_tell_once_what_lies_outside(tmp_path: Path) -> None:
    outside: list[Path] = []
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "data")
    inside = References(tmp_path, outside.append)
    assert inside.of(tmp_path, "a.jpg") == "a.jpg"
    assert inside.of(tmp_path / "data" / "deep", "a.jpg") == "data/deep/a.jpg"
    assert inside.of(tmp_path / "work" / "link", "a.jpg") == "work/link/a.jpg"
    assert outside == []
    elsewhere = References(tmp_path / "work", outside.append)
    for name in ("a.jpg", "b.jpg"):
        assert elsewhere.of(tmp_path / "work" / "link" / "deep", name) == str(
            tmp_path / "data" / "deep" / name
        )
    assert elsewhere.of(tmp_path / "data", "a.jpg") == str(tmp_path / "data" / "a.jpg")
    assert outside == [tmp_path / "work" / "link" / "deep"]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A quickstart of one task and one subset."""
    entry = {**catalogue.tasks()["VOC2007"], "name": "kinds"}
    train = {**catalogue.train_sources()["CIRR"], "name": "things"}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": [entry], "train": [train]}))
    rows = {
        "mmeb-v2/annotations/kinds/test-00000-of-00001.parquet": {
            "qry_inst": "<|image_1|>\nSay it",
            "qry_text": "",
            "qry_img_path": "k/a.png",
            "tgt_inst": "",
            "tgt_text": ["cat"],
            "tgt_img_path": [""],
        },
        "mmeb-train/things/original-00000-of-00001.parquet": {
            "qry": "<|image_1|>\nSay it\n",
            "qry_image_path": "images/things/Train/a.png",
            "pos_text": "cat",
            "pos_image_path": "",
        },
    }
    for name, row in rows.items():
        (tmp_path / name).parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    for name in ("mmeb-v2/image-tasks/k/a.png", "mmeb-train/images/things/Train/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(sources, "quickstart_root", lambda: tmp_path)
    return tmp_path


def test_the_quickstart_tests_by_default(shipped: Path, tmp_path: Path) -> None:
    query, candidate = plan(Request("quickstart")).rows(tmp_path / "anywhere", never)
    assert query["image"] == "quickstart:mmeb-v2/image-tasks/k/a.png"
    assert query["text"] == "<image>\nSay it\n"
    assert (candidate["role"], candidate["id"]) == ("candidate", "cat")


def test_the_quickstart_trains_on_request(shipped: Path, tmp_path: Path) -> None:
    todo = plan(Request("quickstart", split="train"))
    (pair,) = todo.rows(tmp_path, never)
    assert todo.kind.name == "pair"
    assert pair["query"]["image"] == "quickstart:mmeb-train/images/things/Train/a.png"
    assert [row["name"] for row in todo.listing()] == ["things"]
    with pytest.raises(UsageError, match="quickstart has test and train"):
        plan(Request("quickstart", split="dev"))


@pytest.mark.parametrize("split", ["test", "train"])
def test_what_ships_with_the_package_can_be_opened_from_anywhere(split: str, tmp_path: Path) -> None:
    from vlm2vec_cli.media import MediaPolicy, MediaReader

    media, opened = MediaReader(MediaPolicy()), set()
    for row in plan(Request("quickstart", split=split, limit=1)).rows(tmp_path, never):
        for side in (row, row.get("query", {}), row.get("positive", {})):
            for name in ("image", "video"):
                key = (row["dataset"], row.get("role"), name)
                if name in side and key not in opened:
                    opened.add(key)
                    assert side[name].startswith("quickstart:")
                    if name == "image":
                        assert media.image(side[name], tmp_path).mode == "RGB"
                    else:
                        assert len(media.frames(side[name], tmp_path, num_frames=2)) == 2
    assert len({dataset for dataset, _, _ in opened}) == 12
