"""Checks of the decided split before anything is written, and what is said about the sources.

`tests/unit/test_quickstart_split.py` checks the same laws again on the files, without the source.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from vlm2vec_cli.quickstart.honest_split import (
    DOCUMENTS,
    NEW_QUESTIONS,
    NEW_THINGS,
    Row,
    Split,
    answer,
    asked_thing,
    in_order,
    names_held_out,
    right_pairs,
    shown,
    sides,
    thing_of,
)

SOURCES = """\
What comes from where. The licence texts are in this folder.

noto     Noto Color Emoji, drawn at size 109 and scaled to 96 px. Apache-2.0 (noto-emoji.txt).
         Folders noto/ of mmeb-train/images_zip/Quickstart.zip, mmeb-v2/image-tasks/mmeb_v1.zip and
         mmeb-v2/video-tasks/frames/video_mret/Quickstart_i2v.tar.
fluent   Fluent Emoji 3D by Microsoft, as packaged in @lobehub/fluent-emoji-3d, scaled to 96 px.
         MIT (fluent-emoji.txt). Folders fluent/ of the two zip archives.
scenes   Put together from pictures of the two above. Apache-2.0 and MIT. Folders scenes/ of the zip archives.
clips    Animated Fluent Emoji by Microsoft, as packaged in @lobehub/fluent-emoji-anim-1, encoded again as
         H.264 at 112 px. MIT (fluent-emoji.txt). mmeb-train/videos and mmeb-v2/video-tasks/videos.
words    Names, other words and kinds in the Parquet files: emojibase-data 17.0.0. MIT (emojibase-data.txt).
PDF      The ReportLab user guide, 134 pages, its objects packed; the sections and sentences asked
         for are quoted from it. BSD (reportlab.txt). mmeb-train/pages and mmeb-v2/visdoc-tasks.
"""


def person(picture: str) -> str:
    """The id of a person without the tone of the skin.

    >>> person("images/fluent/1f3c4-1f3fb.jpg")
    '1F3C4'
    """
    return "-".join(code for code in thing_of(picture).split("-") if not "1F3FB" <= code <= "1F3FF")


def scenes(parts: Mapping[str, str]) -> dict[str, set[str]]:
    """The things on every scene and part, by the picture's path; `parts` is `scene_things.json`."""
    found: dict[str, set[str]] = {}
    for part, thing in parts.items():
        for name in (part, part.rsplit("-", 1)[0]):
            found.setdefault(f"images/scenes/{name}.jpg", set()).add(thing)
    return found


def media(pair: Row) -> list[str]:
    """Pictures, clips and pages of a training pair."""
    sides = (pair["query"], pair["positive"], *pair.get("negatives", ()))
    return [side[kind] for side in sides for kind in ("image", "video") if kind in side]


def summary(split: Split) -> dict[str, Any]:
    """The held-out things, id to name, ids of the seen ones, and how many pairs were left out and why."""
    return {
        "held_out": {i: split.names[i] for i in in_order(split.held_out)},
        "asked_by_name": in_order(split.asked_by_name),
        "asked_by_tags": in_order(split.asked_by_tags),
        "choice_pairs_with_a_held_out_wrong_option": split.wrong_options_held_out,
        "pairs_left_out": {name: reasons for name, reasons in split.dropped.items() if reasons},
    }


def check(split: Split, parts: Mapping[str, str]) -> None:
    """Assert the laws of `honest_split`, and that things were recognised as the source names them."""
    shows = scenes(parts)
    words = frozenset(split.names[i] for i in split.held_out)
    ids = {name: i for i, name in split.names.items()}
    tasks = split.tasks
    assert not split.held_out & (split.asked_by_name | split.asked_by_tags)
    assert not split.asked_by_name & split.asked_by_tags

    for name in NEW_THINGS:
        things = {asked_thing(name, q, ids) for q in tasks[name].test}
        assert things, name
        assert things <= split.held_out, name
    learned_media = {m for t in tasks.values() for pair in t.train for m in media(pair)}
    wanted = {"choice_vqa": split.asked_by_name, "t2i": split.asked_by_name}
    for name in NEW_QUESTIONS:
        task = tasks[name]
        things = {asked_thing(name, q, ids) for q in task.test}
        assert things, name
        assert things <= wanted.get(name, split.asked_by_name | split.asked_by_tags | split.filmed), name
        assert not things & {thing for pair in task.train for thing in shown(pair, shows)}, name
        corpus = {row["id"]: row for row in task.corpus}
        new = [q if name in ("choice_vqa", "grounding") else corpus[answer(q)] for q in task.test]
        assert not learned_media & {q.get("image") or q["video"] for q in new}, name
    assert {answer(q) for q in tasks["name_new_style"].test} == split.asked_by_name
    assert {answer(q) for q in tasks["tags_to_seen"].test} <= split.asked_by_tags

    new_style = {q["image"] for q in tasks["name_new_style"].test}
    asked = set().union(*(right_pairs(task) for task in tasks.values()))
    for name, task in tasks.items():
        for pair in task.train:
            assert sides(pair) not in asked, (name, pair)
            if name not in DOCUMENTS:
                pictures = {pair[side].get("image") for side in ("query", "positive")}
                assert not pictures & new_style, (name, pair)
                assert not shown(pair, shows) & split.held_out, (name, pair)
                assert not names_held_out(name, pair, words), (name, pair)

    learned_by_name = {thing_of(pair["positive"]["image"]) for pair in tasks["tags_to_seen"].train}
    assert split.asked_by_tags <= learned_by_name
    persons = {person(q["image"]) for q in tasks["composed"].test}
    pairs = tasks["composed"].train
    learned = {person(pair[side]["image"]) for pair in pairs for side in ("query", "positive")}
    assert not persons & learned
    pages = {answer(q) for name in DOCUMENTS for q in tasks[name].test}
    for name in DOCUMENTS:
        assert not pages & {"p" + PurePosixPath(p["positive"]["image"]).stem for p in tasks[name].train}, name
    for pair in tasks["grounding"].train:
        part = PurePosixPath(pair["positive"]["image"]).stem
        assert parts[part] == ids[pair["query"]["text"]], part
