"""One split over all twelve tasks: what a model may learn from, and what it is asked.

The source tasks are split each for itself. Trained together they leak: the name of a thing asked in one task
is a training target of another. So one rule holds over all of them. `T` is the set of the 192 things that
`t2i` asks for in the source, `V` the things of the clip tests, `G` the things named in the grounding test.

* held out `N` = the first 84 things of T outside V and G, in the order of the SHA-256 of their id;
* seen `S` = T without N (108 things), cut in two: `asked_by_name` (54 things, none with a clip), whose second
  drawing style is in no training pair, and `asked_by_tags` (54), whose picture is learned by its name.

Laws, asserted by `checks.py` before anything is written, and by the tests over the written files:

1. No training pair shows a thing of N (either style, clip, part of a scene), and none has its name as a whole
   text, as a word of a word list, or as an answer. One exception, words only: among the four options that a
   choice question lists, a wrong one may be the name of a held-out thing. `Split.wrong_options_held_out`
   counts these pairs; without them more than half of the task would be gone.
2. Tasks about new things (`kind`, `i2i`) ask for things of N alone.
3. Tasks that put a new question (`choice_vqa`, `grounding`, `t2i`, `t2v`, `i2v`) ask for things that their
   own training pairs do not hold, so that what another task taught has to be used: `choice_vqa` and `t2i` for
   `asked_by_name`, `grounding` for S, the clip tasks for V. The picture of the query of `choice_vqa` and of
   `grounding`, and the picture or clip to be found of `t2i`, `t2v` and `i2v`, is in no training pair.
4. `name_new_style` asks for `asked_by_name`, with pictures in no training pair of any task. `tags_to_seen`
   asks for `asked_by_tags`: it learns name -> picture, and asks by other words.
5. No training pair is a test pair, in either direction. Persons of the `composed` test are in no training
   pair, and a page that answers a query of one document task is in no training pair of either.

Candidate pools stay whole. Two tasks get hard negatives, see `hard_negatives`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vlm2vec_cli.quickstart.hard_negatives import options, with_second_parts, with_wrong_options

Row = dict[str, Any]

NEW_THINGS = ("kind", "i2i")
NEW_QUESTIONS = ("choice_vqa", "grounding", "t2i", "t2v", "i2v")
DOCUMENTS = ("section_to_page", "sentence_to_page")
TASKS = (
    "kind",
    "name_new_style",
    "choice_vqa",
    "t2i",
    "tags_to_seen",
    "i2i",
    "composed",
    "grounding",
    "t2v",
    "i2v",
    *DOCUMENTS,
)


@dataclass
class Task:
    """One source task: `corpus`, `test` and `train` rows as read."""

    name: str
    corpus: list[Row]
    test: list[Row]
    train: list[Row]


@dataclass
class Split:
    """The decided split: ids of things, the tasks with what is left, and counts of what was left out."""

    names: dict[str, str]
    held_out: frozenset[str]
    asked_by_name: frozenset[str]
    asked_by_tags: frozenset[str]
    filmed: frozenset[str]
    tasks: dict[str, Task]
    wrong_options_held_out: int = 0
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)


def thing_of(reference: str) -> str:
    """The id of the thing that a picture or clip shows.

    >>> thing_of("images/noto/1f435.jpg")
    '1F435'
    """
    return PurePosixPath(reference).stem.upper()


def answer(query: Row) -> str:
    """The id of the one right candidate of a test query."""
    (only,) = query["positives"]
    return str(only)


def in_order(ids: Iterable[str]) -> list[str]:
    """Ids in a fixed order that says nothing about the things: by SHA-256 of the id."""
    return sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())


def read_tasks(demo: Path) -> dict[str, Task]:
    """Read the twelve source tasks below `demo/tasks`."""

    def rows(name: str, part: str) -> list[Row]:
        text = (demo / "tasks" / f"demo_{name}" / f"{part}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    return {name: Task(name, rows(name, "corpus"), rows(name, "test"), rows(name, "train")) for name in TASKS}


def asked_thing(task: str, query: Row, ids: Mapping[str, str]) -> str:
    """The id of the thing that a test query asks about; `ids` maps names to ids."""
    if task in ("kind", "choice_vqa"):
        return thing_of(query["image"])
    return ids[query["text"]] if task == "grounding" else answer(query)


def shown(pair: Row, scenes: Mapping[str, Iterable[str]]) -> set[str]:
    """Ids of the things whose picture or clip a pair holds; `scenes` lists those of scenes and parts."""
    media = [
        side[kind]
        for side in (pair["query"], pair["positive"])
        for kind in ("image", "video")
        if kind in side
    ]
    return {thing for medium in media for thing in scenes.get(medium, (thing_of(medium),))}


def names_held_out(task: str, pair: Row, words: frozenset[str]) -> bool:
    """Whether a pair has a held-out name as its text, as a word of its word list, or as its answer."""
    texts = [side["text"] for side in (pair["query"], pair["positive"]) if "text" in side]
    if task == "choice_vqa":
        texts = [pair["positive"]["text"]]
    return any(part in words for text in texts for part in (text, *text.split(", ")))


def sides(pair: Row) -> frozenset[str]:
    """A training pair without direction, as the set of its two contents."""
    return frozenset(json.dumps(side, sort_keys=True) for side in (pair["query"], pair["positive"]))


def right_pairs(task: Task) -> set[frozenset[str]]:
    """The right (query, candidate) pairs of a task, in the form of `sides`."""
    contents = {row["id"]: {k: row[k] for k in ("text", "image", "video") if k in row} for row in task.corpus}
    return {
        sides({"query": {k: q[k] for k in ("text", "image") if k in q}, "positive": contents[answer(q)]})
        for q in task.test
    }


def decide(tasks: dict[str, Task]) -> Split:
    """Choose held-out and seen things and the test queries; training pairs are still as read."""
    names = {row["id"]: row["text"] for row in tasks["name_new_style"].corpus}
    ids = {text: identity for identity, text in names.items()}
    pictured = {answer(q) for q in tasks["t2i"].test}
    filmed = {answer(q) for name in ("t2v", "i2v") for q in tasks[name].test}
    grounded = {ids[q["text"]] for q in tasks["grounding"].test}
    held = set(in_order(pictured - filmed - grounded)[:84])
    seen = pictured - held
    tagged = {answer(q) for q in tasks["tags_to_seen"].test}
    moving = {row["id"] for row in tasks["t2v"].corpus}
    still = in_order(seen - moving)
    by_name = frozenset(sorted(still, key=lambda i: i in tagged)[:54])
    by_tags = frozenset(seen - by_name)
    split = Split(names, frozenset(held), by_name, by_tags, frozenset(filmed), tasks)
    wanted = dict.fromkeys(NEW_THINGS, split.held_out)
    wanted |= {"choice_vqa": by_name, "t2i": by_name, "grounding": by_name | by_tags}
    wanted |= {"t2v": split.filmed, "i2v": split.filmed}
    wanted |= {"name_new_style": by_name, "tags_to_seen": by_tags}
    for name, things in wanted.items():
        tasks[name].test = [q for q in tasks[name].test if asked_thing(name, q, ids) in things]
    return split


def build(demo: Path, scenes: Mapping[str, Iterable[str]], parts: Mapping[str, str]) -> Split:
    """Read the source tasks and apply the split to queries and training pairs; `scenes` lists the things of
    scenes and parts by their picture, `parts` those of parts by their name."""
    tasks = read_tasks(demo)
    tested = {answer(q) for q in tasks["t2i"].test}
    split = decide(tasks)
    untested = {i: name for i, name in split.names.items() if i not in tested}
    grounding = tasks["grounding"]
    grounding.train = with_second_parts(grounding.train, parts, untested)
    words = frozenset(split.names[i] for i in split.held_out)
    new_style = {q["image"] for q in split.tasks["name_new_style"].test}
    pages = {answer(q) for name in DOCUMENTS for q in split.tasks[name].test}
    asked = set().union(*(right_pairs(task) for task in split.tasks.values()))
    for name, task in split.tasks.items():
        reasons = split.dropped.setdefault(name, {})
        kept = []
        for pair in task.train:
            media = {pair[s][k] for s in ("query", "positive") for k in ("image", "video") if k in pair[s]}
            why = ""
            if name in DOCUMENTS:
                why = "page asked for" if "p" + PurePosixPath(pair["positive"]["image"]).stem in pages else ""
            elif shown(pair, scenes) & split.held_out:
                why = "shows a held-out thing"
            elif names_held_out(name, pair, words):
                why = "names a held-out thing"
            elif media & new_style:
                why = "shows a picture of name_new_style"
            if not why and sides(pair) in asked:
                why = "is a test pair"
            if why:
                reasons[why] = reasons.get(why, 0) + 1
            else:
                kept.append(pair)
        task.train = kept
    choice = split.tasks["choice_vqa"].train = with_wrong_options(split.tasks["choice_vqa"].train)
    split.wrong_options_held_out = sum(bool(words & set(options(p["query"]["text"]))) for p in choice)
    return split
