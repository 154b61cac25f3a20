"""The folders that a run writes: whole or not at all, found again, removed in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from vlm2vec_cli import adapters, checkpoints
from vlm2vec_cli.errors import UnavailableError, UsageError

STATE = "training_state.pt"
_PREFIX = "checkpoint-"


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only when the block ends well."""
    partial, old = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        # torch, safetensors and tokenizers have types of their own for a full disk, the last one none
        if not isinstance(error, (OSError, RuntimeError, SafetensorError)) and "os error" not in str(error):
            raise
        raise UnavailableError(
            f"cannot be written: {getattr(error, 'strerror', None) or adapters.first_line(error)}",
            place=str(folder),
            hint="earlier checkpoints are intact",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def tidy(out: Path) -> None:
    """Puts back, or removes, what a run that was killed left between two names."""
    for name in ("best", "final", f"{_PREFIX}*"):
        for old in out.glob(f".{name}.old"):
            folder = out / old.name[1 : -len(".old")]
            if name != "final" and not folder.exists():
                old.rename(folder)
            else:
                shutil.rmtree(old)
        for word in ("partial", "gone"):
            for unwanted in out.glob(f".{name}.{word}"):
                shutil.rmtree(unwanted)


def publish(source: Path, folder: Path) -> None:
    """Moves the files of `source` into `folder`, vlm2vec.json last, so that a half-moved model has none.

    Weights of an earlier run that are not overwritten are removed: a folder holds one model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / checkpoints.META).unlink(missing_ok=True)
    for pattern in checkpoints.MODEL_FILES:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(source.iterdir(), key=lambda path: path.name == checkpoints.META):
        os.replace(path, folder / path.name)
    source.rmdir()


def path_of(out: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` steps."""
    return out / f"{_PREFIX}{step}"


def prune(out: Path, limit: int | None) -> None:
    """Removes all but the newest `limit` checkpoints."""
    if limit is not None:
        for folder in _all(out)[:-limit] if limit else _all(out):
            gone = folder.rename(folder.with_name(f".{folder.name}.gone"))  # half of it is no checkpoint
            shutil.rmtree(gone)


def put_aside(out: Path, step: int) -> list[Path]:
    """Renames the checkpoints of later steps, which a run that begins at `step` would take for its own;
    returns their new places."""
    aside = []
    for folder in _all(out):
        if number(folder) > step:
            new = folder.with_name(f"{folder.name}.old")
            shutil.rmtree(new, ignore_errors=True)
            aside.append(folder.rename(new))
    return aside


def number(folder: Path) -> int:
    """The steps that a checkpoint folder is named after."""
    return int(folder.name.removeprefix(_PREFIX))


def find(out: Path, resume: str) -> Path | None:
    """The checkpoint to go on from: `auto` the newest in `out`, `none` none, else the folder named."""
    if resume == "none":
        return None
    if resume == "auto":
        return _all(out)[-1] if _all(out) else None
    if not (Path(resume) / STATE).is_file():
        raise UsageError(f"--resume {resume}: no {STATE} there", hint="auto, none, or a checkpoint-N folder")
    return Path(resume)


def _all(out: Path) -> list[Path]:
    found = [
        path
        for path in out.glob(f"{_PREFIX}*")
        if path.name[len(_PREFIX) :].isdigit() and (path / STATE).is_file()
    ]
    return sorted(found, key=number)
