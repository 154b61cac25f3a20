"""A folder is a registry: a component is one file in readers/, backbones/, losses/ or metrics/.

Its name is the file's with hyphens for underscores; files that start with an underscore are no components.
"""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from vlm2vec_cli.errors import UnavailableError, UsageError, nearest

ROOT = Path(__file__).parent
WORDS = {"readers": "source", "backbones": "backbone", "losses": "loss", "metrics": "metric"}


@cache
def names(folder: str) -> tuple[str, ...]:
    """The components of a folder, sorted; nothing is imported."""
    found = [
        one.stem if one.is_file() else one.name
        for one in (ROOT / folder).iterdir()
        if one.suffix == ".py" or (one / "__init__.py").is_file()
    ]
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def load(folder: str, name: str) -> ModuleType:
    """The module of a component; underscores in the name are as good as hyphens.

    Raises UsageError with the nearest names and the list for an unknown one, UnavailableError when the
    component needs a package that is not installed.
    """
    plain = name.replace("_", "-")
    if plain not in names(folder):
        known = names(folder)
        hint = f"known: {', '.join(known)}"
        near = nearest(plain, known)
        raise UsageError(
            f"unknown {WORDS.get(folder, folder)} {name!r}", hint=f"{near} {hint}" if near else hint
        )
    try:
        return importlib.import_module(f"vlm2vec_cli.{folder}.{plain.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("vlm2vec_cli"):
            raise
        raise UnavailableError(
            f"{name} needs the package {error.name}", hint=f"pip install {error.name}"
        ) from error
