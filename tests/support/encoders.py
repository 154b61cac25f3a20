"""An encoder of the golden tiny model, and the golden inputs as it takes them."""

from collections.abc import Iterator
from typing import Any

import golden
from vlm2vec_cli import checkpoints
from vlm2vec_cli.encoder import Encoder, Input, Output
from vlm2vec_cli.errors import UserError

TEXTS = ["t01_video_query", "t03_plain_candidate", "t05_non_ascii", "i04_tiny_10x12", "i10_rgba"]


def made(**options: Any) -> Encoder:
    output = options.pop("output", Output())
    found = checkpoints.find(str(golden.MODEL))
    return Encoder(golden.backbone(), found, golden.media(), output, **{"workers": 1, **options})


def inputs(*names: str) -> Iterator[Input]:
    for number, name in enumerate(names, start=1):
        yield Input(golden.content(name), golden.ROOT, f"rows.jsonl line {number}")


def refuse(error: UserError) -> None:
    raise error
