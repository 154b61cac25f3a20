"""The workloads of `embed_speed.py`: texts, pictures, many questions on a picture, clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from setting import WORDS

Row = dict[str, Any]


def make_rows(folder: Path, workload: str, rows: int) -> list[Row]:
    """Rows of a workload, their pictures in `folder`; the same ones for the same arguments."""
    generator = np.random.default_rng(ord(workload))

    def text(words: float) -> str:
        return " ".join(generator.choice(WORDS, max(1, int(words))))

    def picture(name: str, longest: int = 560) -> str:
        width, height = generator.integers(120, longest, 2)
        small = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(small).resize((width, height)).save(folder / name, quality=90)
        return name

    if workload == "a":
        return [{"text": text(np.exp(generator.uniform(1, 5)))} for _ in range(4 * rows)]
    if workload == "b":
        return [{"image": picture(f"b{i}.jpg"), "text": text(12)} for i in range(rows)]
    if workload == "c":
        images = [picture(f"c{i}.jpg") for i in range(max(1, rows // 4))]
        return [{"image": image, "text": text(12)} for image in images for _ in range(12)]
    clips = [[picture(f"d{i}-{k}.jpg", 240) for k in range(8)] for i in range(max(1, rows // 2))]
    return [{"video": clip, "text": text(12)} for clip in clips]
