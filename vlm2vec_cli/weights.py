"""Weight files of a model folder: which belong to it, whether they are whole, and their tensors."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor

from vlm2vec_cli.errors import UnavailableError

# Name of a single file, its index when there are several: in the order of preference.
_LAYOUTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


def check(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder, each there and whole.

    Raises UnavailableError for a missing or cut-off file, without reading the tensors.
    """
    paths = _files(folder)
    for path in paths:
        check_file(path)
    return paths


def check_file(path: Path) -> None:
    """Raises UnavailableError when a .safetensors or .bin file is cut off or something else."""
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        # torch writes a zip archive, whose directory stands at its end; its older format has none
        with path.open("rb") as stream:
            cut = stream.read(2) == b"PK" and not zipfile.is_zipfile(path)
        if cut or not size:
            raise _cut(path, f"{size:,} bytes without the end of the archive")
        return
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 0 < length <= size else b""
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError):
        raise _cut(path, f"{size:,} bytes without a whole header") from None
    if size < whole:
        raise _cut(path, f"{size:,} of {whole:,} bytes")


def read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder by name, one file in memory at a time; nothing of a .bin file is executed."""
    for path in check(folder):
        yield from read_file(path).items()


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one file. Raises UnavailableError when it cannot be read."""
    import torch
    from safetensors.torch import load_file

    check_file(path)
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # both libraries raise their own types for a damaged file
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnavailableError(f"cannot be read: {first}", place=str(path)) from error


def refuse(what: str, names: Iterable[str], folder: Path) -> None:
    """Raises UnavailableError where there are `names`, tensors that do not match the model."""
    if found := sorted(names):
        shown = ", ".join(found[:3])
        raise UnavailableError(
            f"{what} in the weights: {shown} ({len(found)} in all)",
            place=str(folder),
            hint="the files do not belong to this config.json, or a shard is missing",
        )


def _files(folder: Path) -> list[Path]:
    for single, index in _LAYOUTS:
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            try:
                names = sorted(set(json.loads((folder / index).read_bytes())["weight_map"].values()))
            except (ValueError, KeyError, AttributeError):
                raise UnavailableError("is no index of weight files", place=str(folder / index)) from None
            if gone := [name for name in names if not (folder / name).is_file()]:
                raise UnavailableError(
                    f"weight file {gone[0]} is missing ({len(gone)} of {len(names)})",
                    place=str(folder),
                    hint="download the model again",
                )
            return [folder / name for name in names]
    raise UnavailableError(
        "no weights in this folder", place=str(folder), hint=f"expected {_LAYOUTS[0][0]} or {_LAYOUTS[1][0]}"
    )


def _cut(path: Path, facts: str) -> UnavailableError:
    return UnavailableError(
        f"the file is cut off or damaged: {facts}", place=str(path), hint="download it again"
    )
