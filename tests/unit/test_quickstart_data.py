"""The shipped quickstart data keeps the laws of its split; read from the raw files alone."""

import doctest
import hashlib
import json
import tarfile
import zipfile
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
import pytest

from vlm2vec_cli.quickstart import checks, honest_split, make_data, task_facts
from vlm2vec_cli.quickstart.task_facts import FACTS, PREFIX

DATA = Path(str(files("vlm2vec_cli.quickstart")))
CATALOGUE = json.loads((DATA / "tasks.json").read_text(encoding="utf-8"))
TASKS = {entry["name"].removeprefix(PREFIX): entry for entry in CATALOGUE["tasks"]}
SUBSETS = {entry["name"].removeprefix(PREFIX): entry for entry in CATALOGUE["train"]}
PICTURE_TASKS = [name for name in TASKS if FACTS[name].modality == "image"]
DOCUMENTS = ("section_to_page", "sentence_to_page")
EACH = pytest.mark.parametrize("name", FACTS)
MAX_BYTES = 8_000_000
Row = dict[str, Any]


def rows(path: str) -> list[Row]:
    read: list[Row] = pq.read_table(DATA / path).to_pylist()
    return read


@cache
def learned(name: str) -> list[Row]:
    return rows(f"mmeb-train/{PREFIX}{name}/original-00000-of-00001.parquet")


@cache
def asked(name: str) -> list[Row]:
    return rows(f"mmeb-v2/annotations/{PREFIX}{name}/test-00000-of-00001.parquet")


def document(name: str, part: str) -> list[Row]:
    return rows(f"mmeb-v2/visdoc-tasks/data/{PREFIX}{name}/{part}/test-00000-of-00001.parquet")


def thing(path: str) -> str:
    return PurePosixPath(path).stem.upper()


def gold_things(name: str) -> set[str]:
    return {thing(row["tgt_img_path"][0]) for row in asked(name)}


@cache
def held_out() -> dict[str, str]:
    """Held-out things, id to name."""
    found: dict[str, str] = CATALOGUE["split"]["held_out"]
    return found


def clip_things(name: str) -> set[str]:
    """Ids of the things whose clips a test asks for."""
    if name == "t2v":
        return {row["video_id"].upper() for row in asked("t2v")}
    return {thing(row["positive_frames"][0]["output_path"]) for row in asked("i2v")}


def media(row: Row) -> list[str]:
    """Pictures and clips of a training pair, those of its negatives too."""
    paths = [row[column] for column in row if column.endswith("_path") and row[column]]
    return [one for path in paths for one in (path if isinstance(path, list) else [path])]


def bare(name: str, row: Row) -> str:
    """What a training query says beside token and instruction."""
    text = row["qry"].replace("<|image_1|>", "").strip()
    assert text.startswith(FACTS[name].query), text
    said: str = text.removeprefix(FACTS[name].query).strip()
    return said


@cache
def parts() -> dict[str, str]:
    """The thing on each part of the scenes."""
    found: dict[str, str] = json.loads((DATA / "scene_things.json").read_text(encoding="utf-8"))
    return found


@cache
def scenes() -> dict[str, set[str]]:
    return checks.scenes(parts())


def shown_things(row: Row) -> set[str]:
    """Ids of the things in the pictures and clips of a training pair."""
    found: set[str] = set()
    for path in media(row):
        inside = path.replace("images/Quickstart/Train/", "images/")
        found |= scenes()[inside] if "/scenes/" in inside else {thing(inside)}
    return found


def source_name(path: str) -> str:
    """A picture's name that training and evaluation agree on."""
    return path.removeprefix("images/").replace("Quickstart/Train/", "").removeprefix("Quickstart/")


# ------------------------------------------------------------------------------------------------ the split
def test_held_out_things_follow_the_stated_rule() -> None:
    split = CATALOGUE["split"]
    seen = set(split["asked_by_name"]) | set(split["asked_by_tags"])
    assert not seen & set(held_out())
    assert len(split["asked_by_name"]) == len(split["asked_by_tags"]) == 54

    pictured = seen | set(held_out())
    assert len(pictured) == 192
    filmed = clip_things("t2v") | clip_things("i2v")
    grounded = {thing_named()[row["qry_text"]] for row in asked("grounding")}
    order = sorted(pictured - filmed - grounded, key=lambda i: hashlib.sha256(i.encode()).hexdigest())
    assert list(held_out()) == order[:84]


def test_held_out_and_learned_names_are_all_names() -> None:
    names = set(asked("name_new_style")[0]["tgt_text"])
    assert len(names) == 480
    assert set(held_out().values()) <= names
    assert {row["pos_text"] for row in learned("name_new_style")} == names - set(held_out().values())


def thing_named() -> dict[str, str]:
    """Name to id of the things that have one in training."""
    return {row["pos_text"]: thing(row["qry_image_path"]) for row in learned("name_new_style")}


def test_new_thing_tasks_ask_for_held_out_things_alone() -> None:
    assert gold_things("i2i") == set(held_out())
    assert {thing(row["qry_img_path"]) for row in asked("kind")} <= set(held_out())


@pytest.mark.parametrize("name", ["choice_vqa", "t2i", "grounding", "t2v", "i2v"])
def test_new_questions_are_about_things_that_their_own_training_has_not(name: str) -> None:
    split = CATALOGUE["split"]
    if name == "choice_vqa":
        things = {thing(row["qry_img_path"]) for row in asked(name)}
        new = {source_name(row["qry_img_path"]) for row in asked(name)}
    elif name == "t2i":
        things = gold_things(name)
        new = {source_name(row["tgt_img_path"][0]) for row in asked(name)}
    elif name == "grounding":
        things = {thing_named()[row["qry_text"]] for row in asked(name)}
        new = {source_name(row["qry_img_path"]) for row in asked(name)}
    else:
        things = clip_things(name)
        new = {f"videos/{one.lower()}.mp4" for one in things}
    assert things
    assert not things & set(held_out())
    if name not in ("t2v", "i2v"):
        assert things <= {*split["asked_by_name"], *(split["asked_by_tags"] if name == "grounding" else ())}
    assert not things & set().union(*map(shown_things, learned(name)))
    for other in FACTS:
        assert not new & {source_name(path) for row in learned(other) for path in media(row)}, other


def test_seen_thing_tasks_ask_for_seen_things_alone() -> None:
    split = CATALOGUE["split"]
    assert {thing(row["qry_img_path"]) for row in asked("name_new_style")} == set(split["asked_by_name"])
    assert gold_things("tags_to_seen") == set(split["asked_by_tags"])
    names = {thing(row["qry_image_path"]): row["pos_text"] for row in learned("name_new_style")}
    assert all(names[thing(r["qry_img_path"])] == r["tgt_text"][0] for r in asked("name_new_style"))
    assert gold_things("tags_to_seen") <= {thing(row["pos_image_path"]) for row in learned("tags_to_seen")}
    for row in asked("tags_to_seen"):
        assert names[thing(row["tgt_img_path"][0])] not in row["qry_text"].split(", ")


@pytest.mark.parametrize("name", [name for name in FACTS if name not in DOCUMENTS])
def test_training_neither_shows_nor_names_a_held_out_thing(name: str) -> None:
    words = set(held_out().values())
    new = set(held_out())
    for row in learned(name):
        assert not shown_things(row) & new, row
        answer = row["pos_text"] if FACTS[name].offers == "text" else ""
        said = "" if name == "choice_vqa" else bare(name, row)  # its options are words only, counted below
        assert not words & {answer, said, *said.split(", ")}, row


def test_wrong_options_that_name_held_out_things_are_counted() -> None:
    words = set(held_out().values())
    naming = [
        row for row in learned("choice_vqa") if words & set(honest_split.options(bare("choice_vqa", row)))
    ]
    assert len(naming) == CATALOGUE["split"]["choice_pairs_with_a_held_out_wrong_option"]


def test_scene_parts_are_recognised_as_the_names_say() -> None:
    names = {thing(row["qry_image_path"]): row["pos_text"] for row in learned("name_new_style")}
    for row in learned("grounding"):
        assert names[parts()[PurePosixPath(row["pos_image_path"]).stem]] == bare("grounding", row)


def test_pictures_of_name_new_style_are_in_no_training_pair() -> None:
    pictures = {source_name(row["qry_img_path"]) for row in asked("name_new_style")}
    for name in FACTS:
        assert not pictures & {source_name(path) for row in learned(name) for path in media(row)}, name


def test_no_training_pair_is_a_test_pair_in_either_direction() -> None:
    """Contents are compared without instructions, over all tasks."""
    tested: set[frozenset[tuple[str, ...]]] = set()
    for name in PICTURE_TASKS:
        for row in asked(name):
            query = tuple(filter(None, (row["qry_text"], source_name(row["qry_img_path"]))))
            target = tuple(filter(None, (row["tgt_text"][0], source_name(row["tgt_img_path"][0]))))
            tested.add(frozenset((query, target)))
    tested |= {frozenset(((row["caption"],), (f"videos/{row['video']}",))) for row in asked("t2v")}
    for row in asked("i2v"):
        clip = f"videos/{row['positive_frames'][0]['output_path']}"
        tested.add(frozenset(((source_name(row["input_frames"]),), (clip,))))
    for name in FACTS:
        text_target = FACTS[name].offers == "text"
        for row in learned(name):
            query = (bare(name, row), source_name(row["qry_image_path"]))
            target = (row["pos_text"] if text_target else "", source_name(row["pos_image_path"]))
            sides = ((*query, row.get("qry_video_path")), (*target, row.get("pos_video_path")))
            assert frozenset(tuple(filter(None, side)) for side in sides) not in tested, row


def test_persons_asked_for_are_in_no_training_pair() -> None:
    tested = {checks.person(row["qry_img_path"]) for row in asked("composed")}
    tested |= {checks.person(row["tgt_img_path"][0]) for row in asked("composed")}
    assert not tested & {checks.person(path) for row in learned("composed") for path in media(row)}


def test_pages_asked_for_are_in_no_training_pair() -> None:
    tested = {int(row["corpus-id"][1:]) for name in DOCUMENTS for row in document(name, "qrels")}
    for name in DOCUMENTS:
        assert not tested & {int(row["pos_image_path"].rsplit("=")[-1]) for row in learned(name)}


# ------------------------------------------------------------------------------------------------ files
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
        offered = honest_split.options(bare("choice_vqa", row))
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
    for module in (honest_split, task_facts, make_data, checks):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
