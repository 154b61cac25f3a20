"""The reference's tiny Qwen2-VL, its inputs, and what it computed on them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm2vec_cli.backbones import Encoded, Limits, qwen2_vl
from vlm2vec_cli.media import MediaPolicy, MediaReader

ROOT = Path(__file__).parents[1] / "golden" / "qwen2_vl"
MODEL = ROOT / "tiny_qwen2vl"
ADAPTER = ROOT / "adapter"
LIMITS = Limits(min_pixels=3136, max_pixels=1003520, num_frames=8)


@cache
def facts() -> dict[str, Any]:
    return json.loads((ROOT / "golden.json").read_bytes())


@cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(ROOT / "golden.npz") as stored:
        return dict(stored)


@cache
def inputs() -> dict[str, dict[str, Any]]:
    """Input rows of the reference by id, in its order."""
    lines = (ROOT / "inputs.jsonl").read_bytes().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def content(name: str) -> dict[str, Any]:
    """The whole prompt as text with the media beside it; an unknown id is a text of its own."""
    row = inputs().get(name)
    if row is None:
        return {"text": name}
    return {"text": row["prompt"], **({row["visual"]: row["images"]} if row["visual"] else {})}


def parts(name: str) -> dict[str, Any]:
    """Instruction and text apart, to be assembled by us."""
    row = inputs()[name]
    fields = {field: row[field] for field in ("instruction", "text") if row[field]}
    return {**fields, **({row["visual"]: row["images"]} if row["visual"] else {})}


@cache
def media() -> MediaReader:
    return MediaReader(MediaPolicy())


def loaded(folder: Path) -> qwen2_vl.Qwen2VL:
    """The model in a folder."""
    return qwen2_vl.load(folder, folder, LIMITS, family="vlm2vec-v2", dtype=torch.float32, device="cpu")


def fresh() -> qwen2_vl.Qwen2VL:
    """A model of one's own, to be changed."""
    return loaded(MODEL)


@cache
def backbone() -> qwen2_vl.Qwen2VL:
    return fresh()


@cache
def encoded(name: str) -> Encoded:
    return backbone().encode(content(name), ROOT, media())
