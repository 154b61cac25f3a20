"""A model by name, and contents to vectors: read ahead, packed, in order.

Rows are prepared by threads ahead of the model. Within a window of rows equal inputs are encoded once and the
rest is ordered by length into packs of at most `batch_tokens`; vectors come out in the order of the rows.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vlm2vec_cli import checkpoints
from vlm2vec_cli.backbones import Backbone, Encoded, Limits
from vlm2vec_cli.errors import UnavailableError, UsageError, UserError
from vlm2vec_cli.media import MediaReader

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WINDOW_PACKS = 8
_WINDOW_ROWS = 4096
_READ_AHEAD = 64  # rows that threads prepare before they are asked for

Vector = NDArray[np.float32]
Thing = TypeVar("Thing")
Result = TypeVar("Result")


class Input(NamedTuple):
    """One content to encode, what its references are resolved against, and where it stands."""

    content: Mapping[str, Any]
    root: Path
    place: str


@dataclass(frozen=True, slots=True)
class Output:
    """What is done to a pooled state: cut to `dim` numbers (all if None), then L2-normalised."""

    dim: int | None = None
    normalize: bool = True


class Encoder:
    """A loaded model. `fingerprint` hashes everything that decides its vectors."""

    def __init__(
        self,
        backbone: Backbone,
        checkpoint: checkpoints.Checkpoint,
        media: MediaReader,
        output: Output,
        *,
        batch_tokens: int | None = None,
        workers: int | None = None,
    ) -> None:
        if output.dim is not None and not 1 <= output.dim <= backbone.dim:
            raise UsageError(f"--dim: expected 1 to {backbone.dim}, got {output.dim}")
        self.backbone = backbone
        self.model = checkpoint.name
        self.revision = checkpoint.revision
        self.dim = output.dim or backbone.dim
        self.normalize = output.normalize
        self.fingerprint = _fingerprint(checkpoint, backbone, output)
        self._media = media
        self._batch_tokens = batch_tokens or (16384 if backbone.model.device.type == "cuda" else 4096)
        self._workers = workers if workers is not None else 4

    def encode(self, inputs: Iterable[Input], reject: Callable[[UserError], None]) -> Iterator[Vector | None]:
        """One float32 vector (dim,) an input, in order; None where `reject` took the input's error.

        An error that `reject` raises, or the inputs themselves, comes after the vectors of all inputs before
        it.
        """
        with ThreadPoolExecutor(max(1, self._workers)) as pool:
            window: list[Encoded | None] = []
            cost = 0
            stop: UserError | None = None
            for prepared in _ahead(pool, self._prepare, inputs, _READ_AHEAD if self._workers else 1):
                if isinstance(prepared, _Ended):
                    stop = prepared.error
                    break
                if isinstance(prepared, UserError):
                    try:
                        reject(prepared)
                    except UserError as error:
                        stop = error
                        break
                    window.append(None)
                else:
                    window.append(prepared)
                    cost += _cost(prepared)
                if cost >= _WINDOW_PACKS * self._batch_tokens or len(window) >= _WINDOW_ROWS:
                    yield from self._flush(window)
                    window, cost = [], 0
            yield from self._flush(window)
            if stop:
                raise stop

    def _prepare(self, one: Input) -> Encoded | UserError:
        try:
            return self.backbone.encode(one.content, one.root, self._media)
        except UserError as error:
            return error.at(one.place)

    def _flush(self, window: Sequence[Encoded | None]) -> Iterator[Vector | None]:
        keys = [None if one is None else _key(one) for one in window]
        distinct = {
            key: one for key, one in zip(keys, window, strict=True) if key is not None and one is not None
        }
        order = sorted(distinct, key=lambda key: (distinct[key].num_tokens, key))
        vectors: dict[bytes, Vector] = {}
        for pack in _packs(order, distinct, self._batch_tokens):
            rows = self._forward([distinct[key] for key in pack])
            vectors.update(zip(pack, rows, strict=True))
        for key in keys:
            yield None if key is None else vectors[key]

    @torch.inference_mode()
    def _forward(self, pack: list[Encoded]) -> Vector:
        try:
            states = self.backbone.forward(pack).float()
        except torch.OutOfMemoryError:
            if len(pack) == 1:
                raise
            self._batch_tokens = max(1, self._batch_tokens // 2)
            log.warning("out of memory: packs of %d tokens from here on", self._batch_tokens)
            middle = len(pack) // 2
            return np.concatenate([self._forward(pack[:middle]), self._forward(pack[middle:])])
        states = states[:, : self.dim]
        if self.normalize:
            states = functional.normalize(states, dim=-1)
        rows: Vector = states.cpu().numpy()
        if not np.isfinite(rows).all():
            raise UnavailableError("the model gives vectors that are not finite", place=self.model)
        return rows


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
    output: Output = Output(),
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
        checkpoint = checkpoints.find(make_tiny(Path(folder), texts or (), seed) if model == TINY else model,
                                      adapter=adapter, revision=revision, config=config)  # fmt: skip
        limits: Limits = checkpoint.limits(**given)
        backbone = checkpoints.load(checkpoint, limits, dtype=number, device=place)
        encoder = Encoder(backbone, checkpoint, media, output, batch_tokens=batch_tokens, workers=workers)
    if model == TINY:
        encoder.model = TINY
    return encoder


TINY = "tiny"


def make_tiny(folder: Path, texts: Iterable[str], seed: int) -> str:
    """Writes a tiny checkpoint into `folder` and returns its name."""
    from vlm2vec_cli import tiny

    tiny.create(folder, texts, seed)
    return str(folder)


def texts_of(contents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Every instruction and text, for a tokenizer to be trained on."""
    for content in contents:
        yield from (content[field] for field in ("instruction", "text") if content.get(field))


def pick_device(name: str) -> torch.device:
    """`auto` is the first accelerator, else the CPU. Raises UsageError for an unknown name."""
    if name == "auto":
        if (
            torch.accelerator.is_available()
            and (found := torch.accelerator.current_accelerator()) is not None
        ):
            return found
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {first}", hint="auto, cpu, cuda, cuda:1 or mps") from None
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where a matrix product is measured at least 1.5 times as fast in it, else
    float32."""
    if name != "auto":
        if name not in DTYPES:
            raise UsageError(f"--dtype: unknown number type {name!r}", hint=f"auto, {', '.join(DTYPES)}")
        return DTYPES[name]
    seconds = {number: _matmul_seconds(number, device) for number in (torch.float32, torch.bfloat16)}
    faster = seconds[torch.bfloat16] * 1.5 < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


def _matmul_seconds(number: torch.dtype, device: torch.device) -> float:
    size = 256 if device.type == "cpu" else 2048
    left = torch.ones(size, size, dtype=number, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        float((left @ left)[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
    return best


class _Ended(NamedTuple):
    """The inputs ended with an error."""

    error: UserError


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Thing], Result], things: Iterable[Thing], depth: int
) -> Iterator[Result | _Ended]:
    """`work` of each thing in order, `depth` of them under way at most; an error of `things` comes last."""
    waiting: deque[Any] = deque()
    ended: UserError | None = None
    source = iter(things)
    while True:
        try:
            thing = next(source)
        except StopIteration:
            break
        except UserError as error:
            ended = error
            break
        waiting.append(pool.submit(work, thing))
        if len(waiting) >= depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if ended:
        yield _Ended(ended)


def _packs(order: Sequence[bytes], inputs: Mapping[bytes, Encoded], tokens: int) -> Iterator[list[bytes]]:
    pack: list[bytes] = []
    used = 0
    for key in order:
        cost = _cost(inputs[key])
        if pack and used + cost > tokens:
            yield pack
            pack, used = [], 0
        pack.append(key)
        used += cost
    if pack:
        yield pack


def _cost(one: Encoded) -> int:
    """Tokens of the decoder plus 2 x 2 patch groups of the vision tower."""
    return one.num_tokens + one.num_patches // 4


def _key(one: Encoded) -> bytes:
    digest = hashlib.blake2b(one.ids.tobytes(), digest_size=16)
    for visual in one.visuals:
        digest.update(visual.key.encode())
    return digest.digest()


def _fingerprint(checkpoint: checkpoints.Checkpoint, backbone: Backbone, output: Output) -> str:
    files = {
        **_digests(checkpoint.weights, ("*.safetensors", "pytorch_model*.bin", "config.json")),
        **_digests(checkpoint.folder, ("tokenizer.json", "vocab.json", "merges.txt")),
    }
    if checkpoint.adapter:
        files.update(_digests(checkpoint.adapter, ("adapter_model.*", "adapter_config.json")))
    facts = {
        "files": sorted(files.items()),
        "prompt_family": checkpoint.meta.get("prompt_family", "vlm2vec-v2"),
        "limits": asdict(backbone.limits),
        "pooling": "last",
        "output": asdict(output),
        "dtype": str(next(backbone.model.parameters()).dtype),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 22):
                digest.update(block)
        found[path.name] = digest.hexdigest()
    return found
