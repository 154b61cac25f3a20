"""Backbones: one vision-language model family a file.

A module of this folder offers `MODEL_TYPES`, the `model_type` values of config.json it serves, and `load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from vlm2vec_cli.engine.pixels import Visual
    from vlm2vec_cli.media import MediaReader


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one input: pixels of a picture or frame, frames of a clip, tokens of a text."""

    min_pixels: int
    max_pixels: int
    num_frames: int
    max_length: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One input, tokenised and with its pixels: all that the forward pass needs."""

    ids: NDArray[np.int64]  # (tokens,), visual tokens expanded
    visuals: tuple[Visual, ...]  # in the order in which their tokens stand
    slots: NDArray[np.int64]  # positions of the tokens that the visuals fill, in stream order

    @property
    def num_tokens(self) -> int:
        """Tokens of the decoder."""
        return len(self.ids)

    @property
    def num_patches(self) -> int:
        """Patches of the vision tower."""
        return sum(len(visual.patches) for visual in self.visuals)


class Backbone(Protocol):
    """A loaded model: contents in, pooled states out."""

    model: Any  # a transformers module: trained and saved; without a language-model head
    dim: int
    limits: Limits

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        ...

    def forward(self, batch: Sequence[Encoded]) -> torch.Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        ...

    def seeing_once(self) -> AbstractContextManager[None]:
        """Inside, each distinct picture passes a frozen vision tower once, however many passes use it."""
        ...

    def save_processor(self, folder: Path) -> None:
        """Tokenizer and processor files alone, for a folder with an adapter."""
        ...

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's standard layout."""
        ...


@runtime_checkable
class Stock(Protocol):
    """A backbone that can also go the way of stock transformers, for `embed --check`."""

    def stock(self, one: Encoded, *, left: int = 0, right: int = 0) -> torch.Tensor:
        """(D,) state of one input's last token as stock transformers computes it, with so much padding."""
        ...
