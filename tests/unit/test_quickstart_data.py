"""The files of the shipped quickstart data: counts, tokens, archives, licences and size."""

import doctest
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from quickstart_data import (
    DATA,
    DOCUMENTS,
    PICTURE_TASKS,
    SUBSETS,
    TASKS,
    asked,
    bare,
    document,
    held_out,
    learned,
    media,
    rows,
    source_name,
    thing,
)
from vlm2vec_cli.quickstart import checks, hard_negatives, honest_split, make_data, task_facts
from vlm2vec_cli.quickstart.task_facts import FACTS, PREFIX

EACH = pytest.mark.parametrize("name", FACTS)
MAX_BYTES = 8_000_000


@EACH
def test_catalogue_says_how_much_there_is(name: str) -> None:
    entry = TASKS[name]
    assert len(learned(name)) == SUBSETS[name]["num_pairs"] > 0
    count = len(document(name, "queries") if name in DOCUMENTS else asked(name))
    assert count == entry["num_queries"] > 0
    if name in DOCUMENTS:
        pools = [len(document(name, "corpus"))] * count
    elif name == "t2v":
        rest = rows(f"mmeb-v2/annotations/{PREFIX}t2v/corpus-00000-of-00001.parquet")
        pools = [len({row["video_id"] for row in asked(name) + rest})] * count
    elif name == "i2v":
        pools = [len(row["positive_frames"]) + len(row["negative_frames"]) for row in asked(name)]
    else:
        pools = [len(row["tgt_text"]) for row in asked(name)]
    assert max(pools) == entry["num_candidates_per_query"]
    assert sum(1 / pool for pool in pools) / count == pytest.approx(entry["chance"], abs=1e-6)
    assert entry["cross_modal"] == (name not in ("i2i", "i2v", "composed", *DOCUMENTS))


@pytest.mark.parametrize("name", PICTURE_TASKS)
def test_candidates_are_distinct_and_complete(name: str) -> None:
    for row in asked(name):
        assert len(row["tgt_text"]) == len(row["tgt_img_path"])
        keys = list(zip(row["tgt_text"], row["tgt_img_path"], strict=True))
        assert len(set(keys)) == len(keys)


@EACH
def test_texts_hold_one_token_for_each_picture_and_clip(name: str) -> None:
    for row in learned(name):
        for text, side in (("qry", "qry"), ("pos_text", "pos")):
            assert row[text].count("<|image_1|>") == bool(row[f"{side}_image_path"])
            assert row[text].count("<video>") == bool(row.get(f"{side}_video_path"))
        if name not in ("grounding", "choice_vqa"):
            assert not row["neg_text"]
            assert not row["neg_image_path"]


def test_grounding_has_another_part_of_the_scene_as_its_hard_negative() -> None:
    for row in learned("grounding"):
        scene = PurePosixPath(row["qry_image_path"]).stem
        parts_shown = [PurePosixPath(path).stem for path in (row["pos_image_path"], *row["neg_image_path"])]
        assert len(set(parts_shown)) == 2
        assert {part.rpartition("-")[0] for part in parts_shown} == {scene}
        assert row["neg_text"] == [row["pos_text"]]


def test_choice_has_the_wrong_options_that_are_right_elsewhere_as_hard_negatives() -> None:
    right = {row["pos_text"] for row in learned("choice_vqa")}
    counts = []
    for row in learned("choice_vqa"):
        offered = hard_negatives.options(bare("choice_vqa", row))
        assert row["neg_text"] == [one for one in offered if one in right and one != row["pos_text"]]
        assert not row["neg_image_path"]
        counts.append(len(row["neg_text"]))
    assert sum(counts) / len(counts) > 1


def test_training_pictures_are_in_the_archive_and_nothing_else_is() -> None:
    named = {path for name in FACTS for row in learned(name) for path in media(row)}
    with zipfile.ZipFile(DATA / "mmeb-train/images_zip/Quickstart.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {path for path in named if path.startswith("images/")}
    others = {path.split("#")[0] for path in named if not path.startswith("images/")}
    assert others == {
        path.relative_to(DATA / "mmeb-train").as_posix()
        for folder in ("pages", "videos")
        for path in (DATA / "mmeb-train" / folder).iterdir()
    }


def test_asked_pictures_are_in_the_archive_and_nothing_else_is() -> None:
    named = {row["qry_img_path"] for name in PICTURE_TASKS for row in asked(name)}
    named |= {path for name in PICTURE_TASKS for row in asked(name) for path in row["tgt_img_path"]}
    with zipfile.ZipFile(DATA / "mmeb-v2/image-tasks/mmeb_v1.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {f"MMEB/{path}" for path in named if path}
    with tarfile.open(DATA / "mmeb-v2/video-tasks/frames/video_mret/Quickstart_i2v.tar") as tar:
        assert set(tar.getnames()) == {f"Quickstart_i2v/query_{row['input_frames']}" for row in asked("i2v")}


def test_clips_and_pages_asked_for_are_there() -> None:
    clips = {path.name for path in (DATA / "mmeb-v2" / TASKS["t2v"]["local"]["video_root"]).iterdir()}
    rest = rows(f"mmeb-v2/annotations/{PREFIX}t2v/corpus-00000-of-00001.parquet")
    assert clips == {row["video"] for row in asked("t2v") + rest}
    for row in asked("i2v"):
        frames = row["positive_frames"] + row["negative_frames"]
        assert {frame["output_path"] for frame in frames} == clips
    for name in DOCUMENTS:
        paths = [row["image"]["path"].partition("#page=") for row in document(name, "corpus")]
        assert all((DATA / "mmeb-v2" / path).is_file() for path, _, _ in paths)
        assert [int(page) for _, _, page in paths] == list(range(2, 135))
        corpus = {row["corpus-id"] for row in document(name, "corpus")}
        assert {row["corpus-id"] for row in document(name, "qrels")} <= corpus


def test_same_picture_has_the_same_bytes_in_training_and_evaluation() -> None:
    train = zipfile.ZipFile(DATA / "mmeb-train/images_zip/Quickstart.zip")
    test = zipfile.ZipFile(DATA / "mmeb-v2/image-tasks/mmeb_v1.zip")
    with train, test:
        sums = {source_name(one.filename): one.CRC for one in train.infolist()}
        twice = {source_name(one.filename.removeprefix("MMEB/")): one.CRC for one in test.infolist()}
        assert sums.keys() & twice.keys()
        assert all(sums[name] == twice[name] for name in sums.keys() & twice.keys())
        new = {crc for name, crc in twice.items() if thing(name) in held_out()}
        assert not new & set(sums.values())


def test_licences_are_there_and_the_data_is_small() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (DATA / "licences").iterdir()}
    assert "Apache" in texts["noto-emoji.txt"]
    assert "MIT" in texts["fluent-emoji.txt"]
    assert "MIT" in texts["emojibase-data.txt"]
    assert "Redistribution" in texts["reportlab.txt"]
    assert all(name in texts["SOURCES.txt"] for name in texts if name != "SOURCES.txt")
    folders = [DATA / name for name in ("mmeb-train", "mmeb-v2", "licences")]
    paths = [
        DATA / "tasks.json",
        *(path for folder in folders for path in folder.rglob("*") if path.is_file()),
    ]
    assert sum(path.stat().st_size for path in paths) <= MAX_BYTES


def test_examples_in_docstrings_hold() -> None:
    for module in (hard_negatives, honest_split, task_facts, make_data, checks):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
