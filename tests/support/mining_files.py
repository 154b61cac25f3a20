"""A small set of pairs and vectors in a folder, for tests of `mine-negatives` from the shell."""

from typing import Any

import numpy as np

from runner import Done, Runner

Row = dict[str, Any]

# Queries and targets on a circle: the score of two is the cosine of the angle between them.
QUERIES = {"red fruit": 0, "yellow fruit": 40, "animal": 150}
TARGETS = {"apple": 10, "cherry": 20, "banana": 45, "lemon": 55, "cat": 140, "dog": 170}
SIDES = (("query", "query"), ("positive", "candidate"))
PAIRS: list[Row] = [
    {"id": "a", "query": {"text": "red fruit"}, "positive": {"text": "apple"}, "mine": {"x": [1]}},
    {"id": "b", "query": {"text": "yellow fruit"}, "positive": {"text": "banana"}, "weight": 0.5},
    {"id": "c", "query": {"text": "yellow  fruit"}, "positive": {"text": "lemon"}},
    {"id": "d", "query": {"text": "animal"}, "positive": {"text": "dog"}},
    {"id": "e", "query": {"text": "red fruit"}, "positive": {"text": "cherry"}},
    {"id": "f", "query": {"text": "animal"}, "positive": {"text": "cat"}},
]


def on_circle(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def vectors() -> list[Row]:
    rows = [{"role": "query", "text": text, "embedding": on_circle(angle)} for text, angle in QUERIES.items()]
    rows.append({"role": "query", "text": "yellow  fruit", "embedding": on_circle(40)})
    rows += [
        {"role": "candidate", "text": text, "embedding": on_circle(angle)} for text, angle in TARGETS.items()
    ]
    return rows


def changed(row: Row, **fields: Any) -> Row:
    """The row, with `fields` if it is the dog's."""
    return {**row, **fields} if row["text"] == "dog" else row


def dense(mine: Runner, *args: str) -> Done:
    return mine("mine-negatives", "pairs.jsonl", "--vectors", "vectors.jsonl", *args)


def texts(done: Done) -> dict[str, list[str]]:
    assert done.exit_code == 0
    return {row["id"]: [one["text"] for one in row["negatives"]] for row in done.rows}


def error(done: Done) -> tuple[int, bytes, list[str]]:
    """Exit code, stdout, and the lines on stderr without the program's name."""
    lines = done.stderr.decode().splitlines()
    return done.exit_code, done.stdout, [line.removeprefix("vlm2vec: error: ") for line in lines]
