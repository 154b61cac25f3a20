"""Rows that a source of `prepare` makes, and how the expected pairs are written."""

from pathlib import Path
from typing import Any

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request


def prepared(root: Path, source: str, **asked: Any) -> list[dict[str, Any]]:
    """All rows of a source whose raw data lie under `root`; a bad row is an error."""
    asked = {"root": str(root), **asked}
    return list(plan(Request(source, **asked)).rows(root, _never))


def _never(error: UserError) -> None:
    raise error


def pair(dataset: str, number: str, query: Any, positive: Any, *negatives: Any) -> dict[str, Any]:
    """One training pair."""
    return {
        "id": number,
        "dataset": dataset,
        "query": query,
        "positive": positive,
        "negatives": list(negatives),
    }
