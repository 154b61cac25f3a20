"""What is known beforehand about released checkpoints, whose own files do not say how they are to be used.

An entry has the keys of `FIELDS`, each optional but `name`. The entries lie in `data/models.json`; a file
with one entry of the same form describes a user's own model.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from vlm2vec_cli.errors import DataError, MissingError, nearest

Entry: TypeAlias = Mapping[str, Any]

FIELDS: Mapping[str, type] = {
    "name": str,  # hub id
    "base": str,  # hub id of the model below an adapter whose own base cannot be found
    "revision": str,  # the hub revision that was described, taken where none is asked for
    "prompt_family": str,
    "pooling": str,  # last, or eos, which is the same
    "limits": dict,  # of `backbones.Limits`
    "dimension": int,
}


def find(name: str, folder: Path | None = None) -> Entry:
    """The entry of a hub id, or of a folder named like the repository it was copied from; else empty.

    >>> find("TIGER-Lab/VLM2Vec-Full")["prompt_family"]
    'vlm2vec-v1'
    >>> find("models/VLM2Vec-Full", Path("models/VLM2Vec-Full"))["prompt_family"]
    'vlm2vec-v1'
    >>> find("my/model")
    {}
    """
    entries = _entries()
    if folder is None:
        return entries.get(name.lower(), {})
    folder = folder.absolute()
    # A hub cache keeps a model in models--ORGANISATION--NAME/snapshots/REVISION.
    cached = folder.parent.name == "snapshots"
    last = (folder.parent.parent.name.rpartition("--")[2] if cached else folder.name).lower()
    return next((entry for key, entry in entries.items() if key.rpartition("/")[2] == last), {})


def read(path: str) -> Entry:
    """A user's own entry. Raises MissingError without the file, DataError for one of another form."""
    try:
        entry = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise MissingError(f"cannot be read: {error.strerror or error}", place=path) from None
    except ValueError as error:
        raise DataError(f"not JSON: {error}", place=path) from None
    if not isinstance(entry, dict):
        raise DataError("expected one JSON object", place=path, hint=f"with {', '.join(FIELDS)}")
    for key, value in entry.items():
        if key not in FIELDS:
            hint = f"{nearest(key, FIELDS)} known: {', '.join(FIELDS)}".strip()
            raise DataError(f"unknown field {key!r}", place=path, hint=hint)
        if not isinstance(value, FIELDS[key]) or isinstance(value, bool):
            raise DataError(f"{key}: expected {FIELDS[key].__name__}, got {value!r}", place=path)
    return entry


@cache
def _entries() -> Mapping[str, Entry]:
    facts = json.loads((files("vlm2vec_cli") / "data" / "models.json").read_bytes())
    return {entry["name"].lower(): entry for entry in facts["models"]}
