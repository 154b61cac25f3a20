"""The shipped quickstart data, read from its raw files alone."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from vlm2vec_cli.quickstart.task_facts import FACTS, PREFIX

DATA = Path(str(files("vlm2vec_cli.quickstart")))
CATALOGUE = json.loads((DATA / "tasks.json").read_text(encoding="utf-8"))
TASKS = {entry["name"].removeprefix(PREFIX): entry for entry in CATALOGUE["tasks"]}
SUBSETS = {entry["name"].removeprefix(PREFIX): entry for entry in CATALOGUE["train"]}
PICTURE_TASKS = [name for name in TASKS if FACTS[name].modality == "image"]
DOCUMENTS = ("section_to_page", "sentence_to_page")
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


@cache
def held_out() -> dict[str, str]:
    """Held-out things, id to name."""
    found: dict[str, str] = CATALOGUE["split"]["held_out"]
    return found


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


def source_name(path: str) -> str:
    """A picture's name that training and evaluation agree on."""
    return path.removeprefix("images/").replace("Quickstart/Train/", "").removeprefix("Quickstart/")
