"""What is known beforehand about datasets: the 78 tasks of MMEB-V2, the training subsets, published scores.

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


def reader_of(entry: Entry) -> str:
    """The name of the file in `readers/` that reads the raw rows of `entry`."""
    parser: str = entry["parser"]
    return READERS.get(parser, parser)


def tasks() -> dict[str, Entry]:
    """The 78 tasks of MMEB-V2 by name, in the benchmark's order: image, video, visdoc."""
    return by_name(_facts("tasks")["tasks"])


def train_sources() -> dict[str, Entry]:
    """The 20 subsets of MMEB-train by name, in the order of the released mix.

    `cap` and `weight` are those of the released V2 run (first `cap` rows; probability proportional to
    weight), `num_pairs` the rows left under the cap where that is known.
    """
    return by_name(_facts("train_sources")["sources"])


def published() -> Mapping[str, Any]:
    """Published main metrics: `scores` version -> model -> task -> percent; `versions` says what each is."""
    return _facts("published_scores")


def label_set(name: str) -> list[str]:
    """The fixed label list `name` (K700, UCF101, HMDB51, Breakfast), in published order."""
    labels: list[str] = _facts("tasks")["label_sets"][name]
    return labels


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
