"""An encoder by the name of its model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm2vec_cli import checkpoints
from vlm2vec_cli.encoder.devices import pick_device, pick_dtype
from vlm2vec_cli.encoder.encode import Encoder, Output
from vlm2vec_cli.media import MediaReader

TINY = "tiny"
_WHOLE = Output()


def load(
    model: str,
    media: MediaReader,
    *,
    adapter: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    num_frames: int | None = None,
    max_length: int | None = None,
    texts: Iterable[str] | None = None,
    seed: int = 42,
    output: Output = _WHOLE,
    batch_tokens: int | None = None,
    workers: int | None = None,
    config: str | None = None,
) -> Encoder:
    """The encoder of a folder, a hub id, `quickstart`, or `tiny` (made from `texts` and `seed`).

    `config` is a file with what the model's own files leave open, see `released`.
    """
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    given = {
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
        "num_frames": num_frames,
        "max_length": max_length,
    }
    with tempfile.TemporaryDirectory() as folder:
        name = make_tiny(Path(folder), texts or (), seed) if model == TINY else model
        checkpoint = checkpoints.find(name, adapter=adapter, revision=revision, config=config)
        backbone = checkpoints.load(checkpoint, checkpoint.limits(**given), dtype=number, device=place)
        backbone.model.requires_grad_(False)
        encoder = Encoder(backbone, checkpoint, media, output, batch_tokens=batch_tokens, workers=workers)
    if model == TINY:
        encoder.model = TINY
    return encoder


def make_tiny(folder: Path, texts: Iterable[str], seed: int) -> str:
    """Writes a tiny checkpoint into `folder` and returns its name."""
    from vlm2vec_cli import tiny

    tiny.create(folder, texts, seed)
    return str(folder)


def texts_of(contents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Every instruction and text, for a tokenizer to be trained on."""
    for content in contents:
        yield from (content[field] for field in ("instruction", "text") if content.get(field))
