"""The shipped quickstart data keeps the laws of its split; read from the raw files alone."""

import hashlib
import json
from functools import cache
from pathlib import PurePosixPath

import pytest

from quickstart_data import (
    CATALOGUE,
    DATA,
    DOCUMENTS,
    PICTURE_TASKS,
    Row,
    asked,
    bare,
    document,
    held_out,
    learned,
    media,
    source_name,
    thing,
)
from vlm2vec_cli.quickstart import checks, hard_negatives
from vlm2vec_cli.quickstart.task_facts import FACTS


def gold_things(name: str) -> set[str]:
    return {thing(row["tgt_img_path"][0]) for row in asked(name)}


def clip_things(name: str) -> set[str]:
    """Ids of the things whose clips a test asks for."""
    if name == "t2v":
        return {row["video_id"].upper() for row in asked("t2v")}
    return {thing(row["positive_frames"][0]["output_path"]) for row in asked("i2v")}


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
        row for row in learned("choice_vqa") if words & set(hard_negatives.options(bare("choice_vqa", row)))
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
