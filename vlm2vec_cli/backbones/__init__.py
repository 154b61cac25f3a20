"""Backbones: one vision-language model family a file.

A module of this folder offers `MODEL_TYPES`, the `model_type` values of config.json it serves,
`PROMPT_FAMILIES`, the ways it can write prompts (its default first), and `load`. Of two modules that serve
one `model_type` the prompt family decides. Files that start with an underscore are shared parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vlm2vec_cli import plugins
from vlm2vec_cli.errors import UnavailableError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from vlm2vec_cli.engine.pixels import Visual
    from vlm2vec_cli.media import MediaReader


_DECODER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA_TARGETS: Mapping[str, tuple[str, ...]] = {
    "qwen2_vl": _DECODER,
    "qwen2_5_vl": _DECODER,  # the MLPs of its vision tower have these names, too, as in the published runs
    "qwen3_vl": _DECODER,
    "llava_next": (*_DECODER, "out_proj"),  # and the attention of its vision tower
    "phi3_v": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "q_proj", "k_proj", "v_proj", "out_proj"),
}
"""Names of the linear layers that an adapter is put on, by model_type, as VLM2Vec trained them."""

RESIZES = ("high", "mid", "low", "cap")


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one input: pixels of a picture or frame, frames of a clip, tokens of a text."""

    min_pixels: int
    max_pixels: int
    num_frames: int
    max_length: int | None = None
    resize: str | None = None  # of pictures before all else, one of RESIZES: VLM2Vec V1's presets
    num_crops: int = 16  # tiles that Phi-3.5-V cuts a picture into, at most


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
        return sum(visual.num_patches for visual in self.visuals)


def served() -> list[str]:
    """Every model_type that a backbone serves."""
    return sorted({kind for module in _modules() for kind in module.MODEL_TYPES})


def serving(kind: str, family: str | None = None) -> ModuleType:
    """The backbone for a model_type and a prompt family; without a family, the one named like the type.

    Raises UnavailableError for a family that none of the type's backbones has.
    """
    modules = [module for module in _modules() if kind in module.MODEL_TYPES]
    for module in modules:
        if family in module.PROMPT_FAMILIES or (family is None and module.__name__.endswith(f".{kind}")):
            return module
    known = sorted({name for module in modules for name in module.PROMPT_FAMILIES})
    raise UnavailableError(
        f"no prompt family {family!r} for model_type {kind!r}", hint=f"known: {', '.join(known)}"
    )


def _modules() -> list[ModuleType]:
    return [plugins.load("backbones", name) for name in plugins.names("backbones")]


class Backbone(Protocol):
    """A loaded model: contents in, pooled states out."""

    model: Any  # a transformers module: trained and saved; without a language-model head
    dim: int
    limits: Limits
    POSITIONS: ClassVar[str]  # rotary positions: "1d", or "mrope" with time, height and width

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        ...

    def forward(self, batch: Sequence[Encoded]) -> torch.Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        ...

    def stock(self, one: Encoded, *, left: int = 0, right: int = 0) -> torch.Tensor:
        """(D,) state of one input's last token as stock transformers computes it, with so much padding."""
        ...

    def seeing_once(self) -> AbstractContextManager[bool]:
        """Inside, each distinct picture passes a frozen vision tower once, however many passes use it. Gives
        whether the tower is frozen."""
        ...

    def save_processor(self, folder: Path) -> None:
        """Tokenizer and processor files alone, for a folder with an adapter."""
        ...

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's standard layout."""
        ...
