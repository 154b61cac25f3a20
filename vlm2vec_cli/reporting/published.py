"""Baselines by name: `published:NAME` or `published:NAME@VERSION`, the newest version unless one is named.

NAME is a report's name or the model's hub id; VERSION may be shortened (`v2.0.0`, `v2.1`). Published
numbers are the main metric in percent with two decimals; they come without intervals.
"""

from collections.abc import Mapping
from typing import Any

from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.reporting.results import Cell, Column

PREFIX = "published:"


def column(name: str, published: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> Column:
    """The named published scores as a baseline; UsageError with the nearest names for an unknown one."""
    asked, _, version_asked = name.removeprefix(PREFIX).partition("@")
    version = _version(version_asked, published)
    scores: Mapping[str, Mapping[str, float]] = published["scores"][version]
    hub_ids = {
        str(hub): model for model, hub in published["models"].items() if model in scores and "/" in hub
    }
    model = hub_ids.get(asked, asked)
    if model not in scores:
        raise UsageError(
            f"no published scores of {asked!r}",
            place="--baseline",
            hint=nearest(asked, [*scores, *hub_ids]) or f"there are {', '.join(scores)}",
        )
    counts = published["num_queries"]
    cells = {}
    for dataset, percent in scores[model].items():
        entry = tasks.get(dataset)
        if entry is not None:
            metric, value = str(entry["main_metric"]), round(percent / 100, 6)
            count = counts.get(dataset)
            count = count.get(version) if isinstance(count, dict) else count
            cells[dataset] = Cell(value, metric, {metric: value}, {}, count)
    about = published["versions"][version]
    return Column(
        f"{PREFIX}{model}@{version}",
        model,
        cells,
        baseline=True,
        published=True,
        sources=(f"published {about['date']}",),
        notes=(str(about["note"]),),
    )


def _version(asked: str, published: Mapping[str, Any]) -> str:
    versions = list(published["scores"])
    if not asked:
        return str(published["newest"])
    fitting = [version for version in versions if version == asked] or [
        version for version in versions if version.startswith(asked)
    ]
    if len(fitting) != 1:
        raise UsageError(
            f"no published version {asked!r}" if not fitting else f"published version {asked!r} is ambiguous",
            place="--baseline",
            hint=f"there are {', '.join(versions)}",
        )
    return str(fitting[0])
