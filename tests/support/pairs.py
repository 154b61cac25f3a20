"""Training pairs as records, and a run over the golden tiny model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

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


def pair(query: str, positive: str | dict[str, Any], *negatives: str | dict[str, Any], **more: Any) -> dict:
    def side(one: str | dict[str, Any]) -> dict[str, Any]:
        return {"text": one} if isinstance(one, str) else one

    return {"query": side(query), "positive": side(positive), "negatives": [*map(side, negatives)], **more}


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

SMALL = TrainOptions(
    max_steps=6, batch_size=4, chunk_tokens=40, warmup_steps=2, learning_rate=1e-3, lora_r=2, save_steps=0
)
DATA = [*texts(3), *PICTURES[:2]]


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


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of the model or adapter in a folder."""
    (path,) = [*folder.glob("*model.safetensors")]
    return load_file(path)


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold equal weights, to the bit."""
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def steps(rows: list[dict[str, Any]], out: Path, options: TrainOptions, **more: Any) -> list[dict[str, Any]]:
    """The step events of a run as of `events`."""
    return [event for event in events(rows, out, options, **more) if event["event"] == "step"]
