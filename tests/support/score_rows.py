"""Three queries and three candidates as vector rows, for `vlm2vec score` as a program."""

import json
from typing import Any

from runner import Done

ROWS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "dataset": "d",
        "text": "one",
        "image": "q/1.jpg",
        "relevant": {"a": 1.0},
        "embedding": [1, 0, 0],
    },
    {"id": "q2", "dataset": "d", "text": "two", "relevant": {"b": 2.0, "c": 1.0}, "embedding": [0, 1, 0.1]},
    {"id": "q3", "dataset": "d", "text": "three", "relevant": {"a": 1.0}, "embedding": [0, 0.2, 1]},
    {"id": "a", "dataset": "d", "role": "candidate", "image": "a.jpg", "embedding": [1, 0, 0]},
    {"id": "b", "dataset": "d", "role": "candidate", "video": ["b/1.jpg", "b/2.jpg"], "embedding": [0, 1, 0]},
    {"id": "c", "dataset": "d", "role": "candidate", "text": "see", "embedding": [0, 0, 1]},
]
MADE_BY = {"model": "m", "fingerprint": "f"}


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{**row, **MADE_BY, **more} for row in ROWS]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def refusal(done: Done, code: int) -> str:
    assert (done.exit_code, done.stdout) == (code, b"")
    first, _, _ = done.stderr.decode().partition("\n")
    assert first.startswith("vlm2vec: error: ")
    return first.removeprefix("vlm2vec: error: ")
