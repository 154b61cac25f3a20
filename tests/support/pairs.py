"""Training pairs as records, and a run over the golden tiny model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import golden
from vlm2vec_cli import adapters
from vlm2vec_cli.backbones.qwen2_vl import Qwen2VL
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.training.loop import train
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Pairs

WORDS = [
    "apple", "pear", "plum", "cherry", "lemon", "grape", "melon", "peach",
    "river", "mountain", "valley", "forest", "desert", "island", "glacier", "canyon",
]  # fmt: skip


def records(rows: Sequence[Mapping[str, Any]], root: Path = golden.ROOT) -> Iterator[Record]:
    """Rows of `pairs.jsonl`."""
    origin = Origin("pairs.jsonl", root, "line")
    for number, row in enumerate(rows, start=1):
        yield Record(PAIR.parse(dict(row), str(number)), origin, number)


def texts(number: int) -> list[dict[str, Any]]:
    """Pairs of texts that all differ."""
    return [
        {"query": {"text": f"what is {word}"}, "positive": {"text": f"{word[::-1]} {word[:3]}"}}
        for word in WORDS[:number]
    ]


PICTURES = [
    {
        "query": {"image": f"images/{name}.png", "text": "what is this"},
        "positive": {"text": f"a picture of {name}"},
    }
    for name in ("tiny_10x12", "gray_200x150", "v5_224x224_f0", "v5_224x224_f1")
]


def lora(backbone: Qwen2VL, options: TrainOptions) -> Any:
    """A fresh adapter on `backbone`."""
    return adapters.create(
        backbone.model,
        r=options.lora_r,
        alpha=options.lora_alpha,
        dropout=options.lora_dropout,
        targets=options.lora_targets,
        dora=options.dora,
        seed=options.seed,
    )


def events(
    rows: Sequence[Mapping[str, Any]], out: Path, options: TrainOptions, **more: Any
) -> Iterator[dict[str, Any]]:
    """The events of a run on a fresh golden model, which ends up in `out`."""
    backbone = golden.fresh()
    adapter = None if options.full else lora(backbone, options)
    return train(
        Pairs(records(rows)),
        backbone,
        adapter,
        golden.media(),
        options,
        out,
        base=str(golden.MODEL),
        facts={"base_model": str(golden.MODEL), "prompt_family": "vlm2vec-v2"},
        workers=1,
        **more,
    )
