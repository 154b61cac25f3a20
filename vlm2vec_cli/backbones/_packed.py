"""What all backbones share: many inputs in one unpadded stream, each distinct picture seen once."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.engine import attention
from vlm2vec_cli.engine.pixels import Visual
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import MediaReader


class Packed(ABC):
    """A decoder over a packed stream with a vision tower in front; see `vlm2vec_cli.backbones.Backbone`.

    `model` has a transformers decoder as `language_model`.
    """

    def __init__(self, model: Any, tower: nn.Module, tokenizer: Any, limits: Limits, family: str) -> None:
        self.model = model
        self.tower = tower
        self.tokenizer = tokenizer
        self.limits = limits
        self.family = family
        self.dim = int(model.language_model.config.hidden_size)
        self._seen: dict[str, Tensor] | None = None
        model.language_model.config._attn_implementation = attention.NAME

    @abstractmethod
    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""

    @abstractmethod
    def look(self, visuals: Sequence[Any]) -> Tensor:
        """(sum of visual tokens, features): one pass of the vision tower."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Tokenizer and preprocessor files."""

    @abstractmethod
    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's published layout."""

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        device, decoder = self.model.device, self.model.language_model
        lengths = tuple(encoded.num_tokens for encoded in batch)
        ids_T = torch.from_numpy(np.concatenate([encoded.ids for encoded in batch])).to(device)
        states_TD = decoder.embed_tokens(ids_T)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        more: dict[str, Any] = {}
        if any(encoded.visuals for encoded in batch):
            slots = np.concatenate([encoded.slots + at for encoded, at in zip(batch, offsets, strict=False)])
            features_VF = self.see([visual for encoded in batch for visual in encoded.visuals])
            slots_V = torch.from_numpy(slots).to(device)
            features_VF = features_VF.to(states_TD.dtype)
            states_TD = states_TD.index_copy(0, slots_V, features_VF[:, : self.dim])
            more = self.beside(features_VF[:, self.dim :], slots_V, len(ids_T))
        positions = np.concatenate([self.positions(encoded) for encoded in batch], axis=-1)
        position_T = torch.from_numpy(positions).to(device)
        out = decoder(
            inputs_embeds=states_TD.unsqueeze(0),
            position_ids=position_T.unsqueeze(-2),
            segment_lengths=lengths,
            use_cache=False,
            **more,
        ).last_hidden_state[0]
        pooled_BD: Tensor = out[torch.from_numpy(offsets[1:] - 1).to(device)]
        return pooled_BD

    def positions(self, encoded: Encoded) -> NDArray[np.int64]:
        """Rotary positions of one input's tokens: (tokens,), or (axes, tokens) where there are several."""
        return np.arange(encoded.num_tokens)

    def beside(self, features_VF: Tensor, slots_V: Tensor, num_tokens: int) -> dict[str, Any]:
        """What the decoder takes beside embeddings: of the features, those behind the first D."""
        return {}

    def see(self, visuals: Sequence[Visual]) -> Tensor:
        """(sum of visual tokens, features) in the order of `visuals`; each distinct picture passes the tower
        once."""
        parts = {
            visual.key: self._seen[visual.key].to(self.model.device)
            for visual in visuals
            if self._seen and visual.key in self._seen
        }
        if new := list({visual.key: visual for visual in visuals if visual.key not in parts}.values()):
            features = torch.split(self.look(new), [visual.num_tokens for visual in new])
            parts.update((visual.key, part) for visual, part in zip(new, features, strict=True))
            if self._seen is not None:
                self._seen.update((visual.key, parts[visual.key].detach().cpu()) for visual in new)
        return torch.cat([parts[visual.key] for visual in visuals])

    @contextlib.contextmanager
    def seeing_once(self) -> Iterator[None]:
        """Inside, a picture passes a frozen vision tower once, however many forward passes need it.

        What the tower computed waits in host memory: less than the patches it came from take there.
        """
        trained = any(parameter.requires_grad for parameter in self.tower.parameters())
        self._seen = None if trained else {}
        try:
            yield
        finally:
            self._seen = None


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
