"""Contents to model inputs, ahead of the model, in bounded memory."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.training.examples import Side

_AHEAD = 32  # contents that threads prepare before they are asked for

Change = Callable[[str, Encoded], Encoded]


class Encodings:
    """Encoded sides by content, prepared by threads, kept while they fit into `budget` bytes.

    Those of earlier steps leave first; what does not fit beside this step's own is prepared again when it is
    asked for again. `waited` counts the seconds for which somebody had to wait.
    """

    def __init__(self, backbone: Backbone, media: MediaReader, *, workers: int, budget: int) -> None:
        self._backbone = backbone
        self._media = media
        self._budget = budget
        self._pool = ThreadPoolExecutor(max(1, workers))
        self._kept: OrderedDict[str, tuple[int, Encoded]] = OrderedDict()  # by last step of use
        self._step = 0
        self._coming: dict[str, Future[Encoded]] = {}
        self._bytes = 0
        self.waited = 0.0

    def begin(self) -> None:
        """A step begins."""
        self._step += 1

    def ahead(self, sides: Iterable[Side]) -> None:
        """Has the threads begin with what will be asked for next."""
        for side in islice((one for one in sides if one.key not in self._kept), _AHEAD):
            self._start(side)

    def stream(self, sides: Mapping[str, Side], bad: dict[str, UserError]) -> Iterator[tuple[str, Encoded]]:
        """Key and encoding of each side, in order; other sides' errors go to `bad`, with the row's place."""
        wanted = list(sides)
        for at, key in enumerate(wanted):
            if key not in self._kept:
                for one in wanted[at : at + _AHEAD]:
                    if one not in self._kept:
                        self._start(sides[one])
            try:
                yield key, self._get(sides[key])
            except UserError as error:
                bad[key] = error

    def get(self, sides: Sequence[Side]) -> dict[str, Encoded]:
        """Encoded by content key. Raises the first side's UserError with its row's place."""
        self.ahead(sides)
        return {side.key: self._get(side) for side in sides}

    def close(self) -> None:
        """Ends the threads; what has not been begun is given up."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, side: Side) -> None:
        if side.key not in self._coming:
            self._coming[side.key] = self._pool.submit(self._encode, side)

    def _get(self, side: Side) -> Encoded:
        if side.key in self._kept:
            _, encoded = self._kept[side.key]
            self._kept[side.key] = (self._step, encoded)
            self._kept.move_to_end(side.key)
            return encoded
        self._start(side)
        begin = time.perf_counter()
        try:
            encoded = self._coming.pop(side.key).result()
        except UserError as error:
            raise error.at(side.place) from None
        finally:
            self.waited += time.perf_counter() - begin
        self._keep(side.key, encoded)
        return encoded

    def _keep(self, key: str, encoded: Encoded) -> None:
        room = self._budget - size(encoded)
        while self._bytes > room and self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest][0] == self._step:
                return
            self._bytes -= size(self._kept.pop(oldest)[1])
        if self._bytes <= room:
            self._kept[key] = (self._step, encoded)
            self._bytes += size(encoded)

    def _encode(self, side: Side) -> Encoded:
        return self._backbone.encode(side.content, side.root, self._media)


def size(encoded: Encoded) -> int:
    """Bytes of host memory."""
    return encoded.ids.nbytes + sum(visual.patches.nbytes for visual in encoded.visuals)


def cost(encoded: Encoded) -> int:
    """Tokens of the decoder plus 2 x 2 patch groups of the vision tower."""
    return encoded.num_tokens + encoded.num_patches // 4


def graph_tokens(encoded: Encoded, frozen: bool) -> int:
    """Tokens, or what weighs as much, that an input leaves in a graph; a frozen vision tower is not in it."""
    return encoded.num_tokens if frozen else cost(encoded)


def number_of(key: str) -> int:
    """A number that a content's key always has, for random draws that depend on the content alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
