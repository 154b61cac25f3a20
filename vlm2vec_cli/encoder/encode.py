"""Contents to vectors: rows are prepared by threads ahead of the model, packed, and come out in order.

Within a window of rows equal inputs are encoded once, and rows that begin alike come into one pack. Windows
begin with one pack, so that the first vectors are there soon, and grow.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.checkpoints import Checkpoint
from vlm2vec_cli.encoder import devices, packs
from vlm2vec_cli.encoder.ahead import Ahead, Ended
from vlm2vec_cli.encoder.fingerprint import fingerprint
from vlm2vec_cli.encoder.finite import check_finite
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError, UserError
from vlm2vec_cli.media import MediaReader

log = logging.getLogger(__name__)

_FIRST_PACKS = 1
_WINDOW_PACKS = 8
_WINDOW_ROWS = 4096
_READ_AHEAD = 16  # rows prepared while the cost of one is not known
_WORKERS = 4

Vector = NDArray[np.float32]


class Input(NamedTuple):
    """One content to encode, what its references are resolved against, and where it stands."""

    content: Mapping[str, Any]
    root: Path
    place: str


class _Row(NamedTuple):
    """A prepared input and where it stands; None for one that was rejected."""

    place: str
    encoded: Encoded | None


@dataclass(frozen=True, slots=True)
class Output:
    """What is done to a pooled state: cut to `dim` numbers (all if None), then L2-normalised."""

    dim: int | None = None
    normalize: bool = True


class Encoder:
    """A loaded model. `fingerprint` hashes everything that decides its vectors.

    `waited` is the time in seconds for which the model of the last `encode` had no prepared rows.
    """

    def __init__(
        self,
        backbone: Backbone,
        checkpoint: Checkpoint,
        media: MediaReader,
        output: Output,
        *,
        batch_tokens: int | None = None,
        workers: int | None = None,
    ) -> None:
        if output.dim is not None and not 1 <= output.dim <= backbone.dim:
            raise UsageError(f"--dim: expected 1 to {backbone.dim}, got {output.dim}")
        self.backbone = backbone
        self.checkpoint = checkpoint
        self.model = checkpoint.name
        self.revision = checkpoint.revision
        self.dim = output.dim or backbone.dim
        self.normalize = output.normalize
        self.fingerprint = fingerprint(checkpoint, backbone, asdict(output))
        self.media = media
        self.batch_tokens = batch_tokens or devices.pack_tokens(backbone.model)
        self.waited = 0.0
        self._workers = _WORKERS if workers is None else workers
        self._said = False

    def encode(
        self, inputs: Iterable[Input | None], reject: Callable[[UserError], None]
    ) -> Iterator[Vector | None]:
        """One float32 vector (dim,) an input, in order; None where `reject` took the input's error.

        A None among the inputs gives nothing: what follows it is computed, to the bit, as if it came first.

        An error that `reject` raises, or the inputs themselves, comes after the vectors of all inputs before
        it.
        """
        num_packs = _FIRST_PACKS
        with self._pool() as pool:
            ahead = Ahead(
                inputs, lambda one: None if one is None else (one.place, self.prepared(one)), _cost, pool,
                budget=_WINDOW_PACKS * self.batch_tokens, first=_READ_AHEAD, least=self._workers + 1,
                most=_WINDOW_ROWS,
            )  # fmt: skip
            stop: UserError | None = None
            while stop is None:
                window: list[_Row] = []
                left = num_packs * self.batch_tokens
                num_packs = min(_WINDOW_PACKS, 2 * num_packs)
                seen: set[str] = set()
                while left > 0 and len(window) < _WINDOW_ROWS:
                    found = ahead.next()
                    if found is None:
                        num_packs = _FIRST_PACKS
                        break
                    if isinstance(found, Ended):
                        stop = found.error
                        break
                    place, prepared = found
                    if isinstance(prepared, UserError):
                        try:
                            reject(prepared)
                        except UserError as error:
                            stop = error
                            break
                        window.append(_Row(place, None))
                    else:
                        window.append(_Row(place, prepared))
                        left -= packs.added(prepared, seen)
                yield from self._encoded(window, ahead.top_up)
                self.waited = ahead.waited
                if isinstance(found, Ended):
                    break
            if stop:
                raise stop

    @contextlib.contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor | None]:
        if not self._workers:
            yield None
            return
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="prepare")
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    def prepared(self, one: Input) -> Encoded | UserError:
        """Tokens and pixels of one input, or its error with its place."""
        try:
            encoded = self.backbone.encode(one.content, one.root, self.media)
            self._check_length(encoded)
        except UserError as error:
            return error.at(one.place)
        return encoded

    def _check_length(self, encoded: Encoded) -> None:
        """A text behind the model's last position costs hours and means nothing; who wants it says so."""
        positions = self.backbone.model.language_model.config.max_position_embeddings
        num_tokens = encoded.num_tokens - len(encoded.slots)
        if num_tokens <= max(positions, self.backbone.limits.max_length or 0):
            return
        raise DataError(
            f"text has {num_tokens:,} tokens, more than the model's {positions:,} positions",
            hint="no text is cut beside pictures: shorten it"
            if encoded.visuals
            else f"--max-length {positions} cuts such texts",
        )

    def _encoded(self, window: Sequence[_Row], between: Callable[[], None]) -> Iterator[Vector | None]:
        """The vectors of a window, in order; `between` is called before each forward pass."""
        keys = [None if row.encoded is None else packs.key(row.encoded) for row in window]
        distinct: dict[bytes, tuple[str, Encoded]] = {}
        for key, (place, encoded) in zip(keys, window, strict=True):
            if key is not None and encoded is not None:
                distinct.setdefault(key, (place, encoded))
        names, places = list(distinct), [place for place, _ in distinct.values()]
        inputs = [encoded for _, encoded in distinct.values()]
        planned = self._planned(inputs, range(len(inputs)))
        vectors: dict[bytes, Vector] = {}
        with packs.once(self.backbone, [[inputs[number] for number in pack] for pack in planned]):
            while planned:
                between()
                budget = self.batch_tokens
                pack, *planned = planned
                rows = self.forward([inputs[number] for number in pack], [places[number] for number in pack])
                vectors.update(zip((names[number] for number in pack), rows, strict=True))
                if self.batch_tokens < budget:
                    planned = self._planned(inputs, list(chain.from_iterable(planned)))
        for key in keys:
            yield None if key is None else vectors[key]

    def _planned(self, inputs: Sequence[Encoded], numbers: Sequence[int]) -> list[list[int]]:
        """The inputs of these numbers in packs, within the budget as it is now."""
        found = packs.packs([inputs[number] for number in numbers], self.batch_tokens)
        return [[numbers[at] for at in pack] for pack in found]

    @torch.inference_mode()
    def forward(self, pack: Sequence[Encoded], places: Sequence[str] = ()) -> Vector:
        """(inputs, dim) vectors of one pack; in halves where the memory does not suffice.

        `places` say where the inputs stand.
        """
        try:
            states = self.backbone.forward(pack).float()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not devices.out_of_memory(error):
                raise
            states = None
        if states is None:  # outside of the handler, whose traceback would keep the states alive
            return self._halves(pack, places)
        states = states[:, : self.dim]
        if self.normalize:
            states = functional.normalize(states, dim=-1)
        rows: Vector = states.cpu().numpy()
        check_finite(rows, places, self.model, next(self.backbone.model.parameters()).dtype)
        return rows

    def _halves(self, pack: Sequence[Encoded], places: Sequence[str]) -> Vector:
        if len(pack) == 1:
            raise UnavailableError(
                f"out of memory with this row alone, {packs.cost(pack[0]):,} tokens",
                place="".join(places),
                hint="--max-pixels, --num-frames or --max-length makes rows smaller",
            )
        if self.backbone.model.device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch_tokens = max(1, min(self.batch_tokens, packs.together(pack) // 2))
        if not self._said:
            log.warning("out of memory: packs of %d tokens from here on, fewer if need be", self.batch_tokens)
            self._said = True
        middle = len(pack) // 2
        halves = (slice(middle), slice(middle, None))
        return np.concatenate([self.forward(pack[half], places[half]) for half in halves])


def _cost(found: tuple[str, Encoded | UserError] | None) -> int:
    return 1 if found is None or isinstance(found[1], UserError) else packs.cost(found[1])
