"""Thresholds from a TOML file that lives in a repository.

[min]
overall = 0.55
"MSCOCO_i2t:hit@5" = "80%"

[max-drop]
default = "2%"           # every dataset
ImageNet-1K = 0.01
"""

import sys
from pathlib import Path
from typing import Any

from vlm2vec_cli.errors import DataError, MissingError, UsageError
from vlm2vec_cli.reporting.gate import Limit, amount_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

TABLES = {"min": "min", "max-drop": "max_drop"}


def read(path: str) -> list[Limit]:
    """The file's limits in its order. Raises MissingError and DataError with the file as place."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error.reason} at byte {error.start}", place=path) from None
    except OSError as error:
        raise MissingError((error.strerror or "cannot be read").lower(), place=path) from None
    limits = []
    for table, values in _parsed(text, path).items():
        if table not in TABLES or not isinstance(values, dict):
            raise DataError(f"unknown entry {table!r}", place=path, hint="tables are [min] and [max-drop]")
        for name, value in values.items():
            try:
                amount, relative = amount_of(str(value), path)
            except UsageError as error:
                raise DataError(f"[{table}] {name}: {error.fact}", place=path) from None
            if table == "min":
                limits.append(Limit("min", name, amount, False, path))
            else:
                limits.append(Limit("max_drop", None if name == "default" else name, amount, relative, path))
    return limits


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not TOML: {error}", place=path) from None


def merged(file: list[Limit], flags: list[Limit]) -> list[Limit]:
    """Both, where a flag replaces the file's limit of the same kind and name."""
    taken = {(limit.kind, limit.name) for limit in flags}
    return [limit for limit in file if (limit.kind, limit.name) not in taken] + flags
