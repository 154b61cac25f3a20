"""What is known beforehand about datasets: tasks of MMEB-V2 and MMEB, training sets, published scores.

An entry is a plain mapping; keys every entry has: `name`, `modality` (image, video, visdoc), `group`,
`task_type`, `parser` (which raw format its rows have), `hf` (`repo`, `config`, `split`: where its annotations
are published). Task entries add `local` (places under the root folder), `eval_type` (local: a query ranks its
own pool; global: all candidates), `main_metric`, `instruction`, the two templates of the texts a model sees,
and `num_queries`. The facts lie in `data/*.json`; an entry of the same form in another file works as well.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]

READERS = {
    **dict.fromkeys(("image_cls", "image_qa", "image_i2t", "image_t2i", "image_i2i_vg"), "mmeb_image"),
    **dict.fromkeys(("msrvtt", "msvd", "didemo", "youcook2", "vatex"), "text_to_video"),
    **dict.fromkeys(("video_classification", "ssv2"), "video_classification"),
    **dict.fromkeys(("mvbench", "nextqa", "videomme", "egoschema", "activitynetqa"), "video_qa"),
    **dict.fromkeys(("vidore", "visrag"), "beir"),
}
"""Parser to reader file, where one file reads several kinds; any other parser is its reader's name."""

SHARED_FACTS = (
    "name", "modality", "group", "task_type", "domain", "eval_type", "main_metric", "num_queries",
)  # fmt: skip
"""What a task of MMEB-V2 over images has in common with the same task of the first MMEB."""


def reader_of(entry: Entry) -> str:
    """The name of the file in `readers/` that reads the raw rows of `entry`."""
    parser: str = entry["parser"]
    return READERS.get(parser, parser)


def tasks() -> dict[str, Entry]:
    """The 78 tasks of MMEB-V2 by name, in the benchmark's order: image, video, visdoc."""
    return by_name(_facts("tasks")["tasks"])


def first_tasks() -> dict[str, Entry]:
    """The 36 tasks of the first MMEB by name: those of MMEB-V2 over images, with annotations of their own."""
    return by_name(
        {
            **{name: value for name, value in entry.items() if name in SHARED_FACTS},
            "parser": "mmeb_eval",
            "hf": {"repo": "TIGER-Lab/MMEB-eval", "config": entry["name"], "split": "test"},
            "homes": ["MMEB-eval"],
        }
        for entry in tasks().values()
        if entry["modality"] == "image"
    )


def train_sources(source: str | None = None) -> dict[str, Entry]:
    """The 25 datasets of the released training mix by name, in its order, or those of one `source`.

    `cap` and `weight` are those of the released V2 run (first `cap` rows; probability proportional to
    weight), `num_pairs` the rows left under the cap where that is known, `homes` the folders they may be
    cloned into.
    """
    entries = _facts("train_sources")["sources"]
    return by_name(entry for entry in entries if source in (None, entry["source"]))


def hard_negatives() -> dict[str, Entry]:
    """The subsets of MMEB-train with mined negatives (B3), by name; the pictures are MMEB-train's."""
    return by_name(
        {
            **entry,
            "hf": {"repo": "VLM2Vec/B3-2b", "config": entry["name"], "split": "train"},
            "homes": ["B3-2b", "B3-7b"],
            "picture_roots": ["", "image", "../MMEB-train", "../MMEB-train/image", "MMEB-train"],
            "negatives": "mined",
        }
        for entry in train_sources("mmeb-train").values()
    )


MIXES = {
    "vlm2vec-v2": "alltasks",
    "vlm2vec-v2-image": "image",
    "vlm2vec-v2-video": "video",
    "vlm2vec-v2-visdoc": "visdoc",
}
"""Preset to the name of its weights: the published run, and those of one modality beside it."""


def mix(preset: str) -> dict[str, Entry]:
    """The datasets of a published mix by name; `share` is a dataset's probability."""
    name = MIXES[preset]
    chosen = {key: one for key, one in train_sources().items() if one["weight"].get(name)}
    total = sum(one["weight"][name] for one in chosen.values())
    return {key: {**one, "share": one["weight"][name] / total} for key, one in chosen.items()}


def label_set(name: str) -> list[str]:
    """The fixed label list `name` (K700, UCF101, HMDB51, Breakfast), in published order."""
    labels: list[str] = _facts("tasks")["label_sets"][name]
    return labels


def predicates() -> tuple[list[str], list[str]]:
    """The 50 predicates of VG150 (Visual Genome), and the 15 of them that count as novel."""
    facts = _facts("predicates")
    return list(facts["predicates"]), list(facts["novel"])


def published() -> Mapping[str, Any]:
    """Published main metrics: `scores` version -> model -> task -> percent; `versions` says what each is."""
    return _facts("published_scores")


def load(path: Path, key: str = "tasks") -> dict[str, Entry]:
    """Entries of the same form from another JSON file: an object with their list under `key`."""
    return by_name(json.loads(path.read_bytes()).get(key, ()))


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by name, order kept."""
    return {entry["name"]: entry for entry in entries}


@cache
def _facts(name: str) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads((files("vlm2vec_cli") / "data" / f"{name}.json").read_bytes())
    return facts
