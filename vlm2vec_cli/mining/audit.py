"""The negatives that look most like answers, side by side with query and positive: one file, no script."""

import base64
import io
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining.choose import Choices
from vlm2vec_cli.mining.identity import references
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.summary import low_positives
from vlm2vec_cli.nearest import Floats

SIDE = 220
FRAMES = 3
LONGEST_TEXT = 600
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }
article { border-top: 1px solid #bbb; padding: .8em 0 }
h3 { font-size: 1em; margin: 0 0 .4em } small { color: #555; font-weight: normal }
.sides { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1.5em }
.sides h4 { margin: 0; font-size: .85em; color: #555 }
img { max-width: 100%; height: auto; margin: .2em .2em 0 0 }
p { margin: .3em 0; overflow-wrap: anywhere } .absent { color: #a00 }
@media (max-width: 40em) { body { margin: 1em auto } .sides { gap: .7em } }
"""


class Pictures:
    """Small pictures as data URIs, each made once."""

    def __init__(self, reader: MediaReader) -> None:
        self._reader = reader
        self._made: dict[tuple[str, str, Path], str] = {}

    def of(self, content: Mapping[str, Any], root: Path) -> Iterator[str]:
        """An img element a picture, and for a video one for each of a few frames."""
        for name in ("image", "video"):
            listed = references({name: content[name]}) if name in content else []
            for one in listed if name == "image" else listed[:1]:
                yield self._made.get((name, one, root)) or self._make(name, one, content[name], root)

    def _make(self, name: str, reference: str, value: Any, root: Path) -> str:
        try:
            if name == "image":
                pictures = [self._reader.image(reference, root)]
            else:
                pictures = self._reader.frames(value, root, num_frames=FRAMES)
        except UserError as error:
            html = f'<p class="absent">cannot be shown: {escape(str(error))}</p>'
        else:
            html = "".join(_img(one) for one in pictures)
        self._made[name, reference, root] = html
        return html


def page(pairs: Pairs, choices: Choices, settings: Settings, pictures: Pictures) -> str:
    """HTML with up to `audit_size` mined negatives, the smallest lead of the positive first.

    The lead is measured by the judge where there is one. Pairs whose own positive scores low come after.
    """
    judged = settings.rescore is not None
    positives = choices.judged_positives if judged else choices.positives
    negatives = choices.judged if judged else choices.scores
    lead = positives[:, None] - negatives
    flat = np.flatnonzero(~np.isnan(lead))
    worst = flat[np.argsort(lead.ravel()[flat], kind="stable")][: settings.audit_size]
    by = settings.rescore if judged else settings.model or settings.method
    parts = [
        "<!doctype html>", '<html lang="en"><meta charset="utf-8"><title>Mined negatives to check</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style>", "<h1>Mined negatives to check</h1>",
        f"<p>The {len(worst)} of {len(flat)} negatives with the smallest lead of their positive,"
        f" scored by {escape(str(by))}.</p>",
    ]  # fmt: skip
    for place in worst.tolist():
        row, slot = divmod(place, lead.shape[1])
        parts.append(_negative(pairs, choices, settings, pictures, row, slot, (positives, negatives)))
    low = low_positives(pairs, choices, settings)
    if low:
        parts.append(f"<h2>Positives that score below {settings.keep_positives_below:g}</h2>")
        parts.append(f"<p>The {min(len(low), settings.audit_size)} lowest of {len(low)}.</p>")
        parts += [_pair(pairs, pictures, row, score) for row, score in low[: settings.audit_size]]
    return "\n".join([*parts, "</html>", ""])


def _negative(
    pairs: Pairs,
    choices: Choices,
    settings: Settings,
    pictures: Pictures,
    row: int,
    slot: int,
    scores: tuple[Floats, Floats],
) -> str:
    unit, rank = int(choices.units[row, slot]), int(choices.ranks[row, slot])
    positive, negative = float(scores[0][row]), float(scores[1][row, slot])
    source = f"{settings.method}, rank {rank}" if rank else "random"
    root = pairs.targets.media_root(unit)
    sides = [
        *_own_sides(pairs, pictures, row, positive),
        _side(f"negative {negative:.4f}, {source}", pairs.targets.content(unit), root, pictures),
    ]
    return _article(pairs, row, f"lead {positive - negative:.4f}", sides)


def _pair(pairs: Pairs, pictures: Pictures, row: int, score: float) -> str:
    return _article(pairs, row, f"positive {score:.4f}", _own_sides(pairs, pictures, row, score))


def _own_sides(pairs: Pairs, pictures: Pictures, row: int, positive: float) -> list[str]:
    own, root = pairs.row(row), pairs.origins.media_root(pairs.origin[row])
    return [
        _side("query", own["query"], root, pictures),
        _side(f"positive {positive:.4f}", own["positive"], root, pictures),
    ]


def _article(pairs: Pairs, row: int, fact: str, sides: list[str]) -> str:
    head = f"{escape(pairs.datasets[row])} {escape(pairs.ids[row])} <small>{escape(pairs.place(row))}, {fact}"
    return f'<article><h3>{head}</small></h3><div class="sides">{"".join(sides)}</div></article>'


def _side(title: str, content: Mapping[str, Any], root: Path, pictures: Pictures) -> str:
    text = " ".join(" ".join(content.get(name) or "" for name in ("instruction", "text")).split())
    shown = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\u2026"
    media = "".join(pictures.of(content, root))
    return f"<div><h4>{escape(title)}</h4>{media}<p>{escape(shown)}</p></div>"


def _img(picture: Image.Image) -> str:
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img alt="" {size} src="data:image/jpeg;base64,{data}">'
