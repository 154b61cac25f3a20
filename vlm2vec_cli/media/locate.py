"""From a path in a row to a file on disk, inside the media root."""

import os
from importlib.util import find_spec
from pathlib import Path

from vlm2vec_cli.errors import DataError, MissingError, nearest

_MAX_LISTED = 5000
LEAVING_HINT = "--media-root DIR names another root; --trust-paths allows paths outside of it"


def within(root: Path, path: str, *, trust: bool) -> str:
    """The real path (links followed) of `path` under `root`; it need not exist.

    Raises DataError where it lies outside the root and `trust` is false, or is no path at all.
    """
    try:
        top = os.path.realpath(root)
        real = os.path.realpath(os.path.join(top, path))
        os.fsencode(real)
    except (ValueError, OSError) as error:
        raise DataError(f"not a path: {error}") from error
    if trust or real == top or real.startswith(top.rstrip(os.sep) + os.sep):
        return real
    how = "is an absolute path outside" if os.path.isabs(path) else "leaves"
    raise DataError(f"{how} the media root {root}", hint=LEAVING_HINT)


def is_file(root: Path, path: str, *, trust: bool) -> bool:
    """Whether `path` names an existing file that may be opened."""
    if not os.path.isfile(os.path.join(root, path)):
        return False
    try:
        within(root, path, trust=trust)
    except DataError:
        return False
    return True


def missing(root: Path, path: str, real: str) -> MissingError:
    """The error for a path that is not there, with the likeliest remedy."""
    return MissingError(f"no such file in {root}", hint=_remedy(root, path, real))


def _remedy(root: Path, path: str, real: str) -> str:
    parts = path.rstrip("/").split("/")
    for end in range(1, len(parts)):
        for suffix in (".zip", ".tar"):
            archive = "/".join(parts[:end]) + suffix
            if os.path.isfile(os.path.join(root, archive)):
                ways = [f"{archive}!{'/'.join(parts[start:])}" for start in (end, end - 1)]
                return f"{archive} is there: {' or '.join(ways)} reads from it"
    folder, name = os.path.split(real)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MAX_LISTED), entries, strict=False)]
    except OSError:
        names = []
    guess = nearest(name, names)
    return guess or "--media-root DIR names the folder that references start from"


def quickstart_root() -> Path:
    """The folder of the data shipped with the package. Raises MissingError where it was not installed."""
    spec = find_spec("vlm2vec_cli.quickstart")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError("the quickstart data is not installed", hint="reinstall vlm2vec-cli")
    return Path(next(iter(spec.submodule_search_locations)))
