"""What all backbones share: many inputs in one unpadded stream, each distinct picture seen once."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.backbones._visuals import Visuals
from vlm2vec_cli.engine import attention, packing
from vlm2vec_cli.engine.pixels import Visual
from vlm2vec_cli.engine.seeing import Seeing
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import MediaReader


class Packed(ABC):
    """A decoder over a packed stream with a vision tower in front; see `vlm2vec_cli.backbones.Backbone`.

    `model` has a transformers decoder as `language_model` and its vision tower under the name `tower`.
    """

    POSITIONS: ClassVar[str] = "1d"
    # The family's prompts for programs that take chat messages; without it the tokenizer's own is kept.
    CHAT_TEMPLATE: ClassVar[str | None] = None

    def __init__(self, model: Any, tower: str, tokenizer: Any, limits: Limits, family: str) -> None:
        self.model = model
        self._tower = tower
        self.tokenizer = tokenizer
        self.limits = limits
        self.family = family
        self.dim = int(model.language_model.config.hidden_size)
        self._see = Seeing(self.look)
        self._visuals = Visuals(self.picture, self.clip)
        model.language_model.config._attn_implementation = attention.NAME

    @property
    def tower(self) -> nn.Module:
        """The vision tower as it is now: an adapter may put a trained copy in its place."""
        tower: nn.Module = getattr(self.model, self._tower)
        return tower

    @abstractmethod
    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""

    @abstractmethod
    def picture(self, image: Image.Image) -> Visual:
        """An RGB picture as the tower takes it."""

    def clip(self, frames: Sequence[Image.Image]) -> Visual:
        """RGB frames of a video as the tower takes them, where it can."""
        raise NotImplementedError

    @abstractmethod
    def look(self, visuals: Sequence[Any]) -> Tensor:
        """(sum of visual tokens, features): one pass of the vision tower."""

    @abstractmethod
    def stock_states(self, one: Encoded, given: dict[str, Tensor], slots: Tensor) -> Tensor:
        """(1, tokens, D) of transformers' own forward pass over a padded row.

        `given` holds its input_ids, attention_mask and 1-D position_ids (1, tokens), `slots` (V,) the places
        of the visual tokens.
        """

    @abstractmethod
    def processor_files(self) -> dict[str, dict[str, Any]]:
        """What transformers' processor reads, by file name."""

    def save_processor(self, folder: Path) -> None:
        """Tokenizer and preprocessor files."""
        self.tokenizer.save_pretrained(folder)
        for name, fields in self.processor_files().items():
            (folder / name).write_text(json.dumps(fields, indent=2) + "\n")
        if self.CHAT_TEMPLATE:
            (folder / "chat_template.jinja").write_text(self.CHAT_TEMPLATE)

    @abstractmethod
    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's published layout."""

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        device, decoder = self.model.device, self.model.language_model
        packed = packing.pack(batch)
        states_TD = decoder.embed_tokens(torch.from_numpy(packed.ids).to(device))
        more: dict[str, Any] = {}
        if packed.visuals:
            features_VF = self._see(packed.visuals, device).to(states_TD.dtype)
            slots_V = torch.from_numpy(packed.slots).to(device)
            states_TD = states_TD.index_copy(0, slots_V, features_VF[:, : self.dim])
            more = self.beside(features_VF[:, self.dim :], slots_V, len(states_TD))
        positions = np.concatenate([self.positions(encoded) for encoded in batch], axis=-1)
        position_T = torch.from_numpy(positions[..., packed.take]).to(device)
        last_B = torch.from_numpy(packed.last).to(device)
        with packing.reading_only(last_B, decoder.layers[-1].mlp):
            out = decoder(
                inputs_embeds=states_TD.unsqueeze(0),
                position_ids=position_T.unsqueeze(-2),
                use_cache=False,
                **packed.attention,
                **more,
            ).last_hidden_state[0]
        pooled_BD: Tensor = out[last_B]
        return pooled_BD

    def stock(self, one: Encoded, *, left: int = 0, right: int = 0) -> Tensor:
        """(D,) state of one input's last token as stock transformers computes it, with so much padding.

        Tokens, pixels and, where the family's are not the stock model's, positions are still our own.
        """
        device, end = self.model.device, left + one.num_tokens
        ids = torch.from_numpy(np.pad(one.ids, (left, right)))[None].to(device)
        mask = torch.zeros_like(ids)
        mask[:, left:end] = 1
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        with _attention_of_transformers(self.model):
            states = self.stock_states(one, given, torch.from_numpy(one.slots + left).to(device))
        pooled: Tensor = states[0, end - 1]
        return pooled

    def positions(self, encoded: Encoded) -> NDArray[np.int64]:
        """Rotary positions of one input's tokens: (tokens,), or (axes, tokens) where there are several."""
        return np.arange(encoded.num_tokens)

    def beside(self, features_VF: Tensor, slots_V: Tensor, num_tokens: int) -> dict[str, Any]:
        """What the decoder takes beside embeddings: of the features, those behind the first D."""
        return {}

    def seeing_once(self) -> AbstractContextManager[bool]:
        """See `vlm2vec_cli.engine.seeing`."""
        return self._see.once(self.tower)


@contextmanager
def _attention_of_transformers(model: nn.Module) -> Iterator[None]:
    """Inside, every part of the model attends as transformers does by itself."""
    found: list[Any] = [getattr(part, "config", None) for part in model.modules()]
    # A model's own comes before those of its parts, which follow it.
    configs = {id(one): one for one in found if hasattr(one, "_attn_implementation")}.values()
    ours = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        for config, name in zip(configs, ours, strict=True):
            config._attn_implementation = name


def expand(ids: NDArray[np.int64], given: Mapping[int, Sequence[Visual]]) -> Encoded:
    """`ids` with the k-th token of each visual kind repeated as often as the k-th visual has tokens.

    `given` holds the visuals by the id of their token. Raises DataError where their numbers differ.
    """
    queues = {token: iter(visuals) for token, visuals in given.items()}
    counts = np.ones(len(ids), dtype=np.int64)
    ordered: list[Visual] = []
    for place in np.flatnonzero(np.isin(ids, list(given))):
        visual = next(queues[int(ids[place])], None)
        if visual is None:
            raise DataError("text has more visual tokens than visuals")
        counts[place] = visual.num_tokens
        ordered.append(visual)
    if len(ordered) != sum(map(len, given.values())):
        raise DataError("text has fewer visual tokens than visuals")
    ids = np.repeat(ids, counts)
    return Encoded(ids, tuple(ordered), np.flatnonzero(np.isin(ids, list(given))))
