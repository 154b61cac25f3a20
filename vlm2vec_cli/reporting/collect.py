"""Score rows -> columns, one a model. The schema checks each row, this file what rows say together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.reporting.results import Cell, Column
from vlm2vec_cli.schemas.base import Record

ROUNDING = 1e-6
"""Means of fractions may come out a rounding error above 1."""

UNNAMED = "unnamed model"


@dataclass
class Scores:
    """What the score rows of one side of a comparison hold.

    `facts` has, by dataset, the first row's modality, task type and group, for datasets that the
    catalogue does not know.
    """

    columns: list[Column]
    facts: dict[str, dict[str, str]]


@dataclass
class _Gathered:
    cells: dict[str, Cell] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    tool_versions: list[str] = field(default_factory=list)


def collect(records: Iterable[Record], *, baseline: bool = False, place: str = "") -> Scores:
    """Columns in order of first appearance, one a model; rows of one model may lie in several files.

    `place` names the input in the error for an empty one. Raises DataError for no row at all, for a
    second row of one (dataset, model), and for numbers of one row that contradict each other.
    """
    models: dict[str, _Gathered] = {}
    facts: dict[str, dict[str, str]] = {}
    for record in records:
        row = record.row
        dataset, model = str(row["dataset"]), str(row.get("model") or UNNAMED)
        gathered = models.setdefault(model, _Gathered())
        if dataset in gathered.places:
            raise DataError(
                f"dataset {dataset!r} of model {model!r} has a score already, at {gathered.places[dataset]}",
                place=record.place,
                hint="give each setting its own `model` name, or drop the older row",
            )
        try:
            gathered.cells[dataset] = _cell(row)
        except DataError as error:
            raise error.at(record.place) from None
        gathered.places[dataset] = record.place
        _add(gathered.sources, record.origin.name)
        _add(gathered.fingerprints, row.get("fingerprint"))
        _add(gathered.tool_versions, row.get("tool_version"))
        known = facts.setdefault(dataset, {})
        for key in ("modality", "task_type", "group"):
            if row.get(key):
                known.setdefault(key, str(row[key]))
    if not models:
        raise DataError("no score rows", place=place, hint="`vlm2vec score` writes them")
    columns = [
        Column(
            model,
            model,
            one.cells,
            baseline=baseline,
            sources=tuple(one.sources),
            fingerprints=tuple(one.fingerprints),
            tool_versions=tuple(one.tool_versions),
        )
        for model, one in models.items()
    ]
    return Scores(columns, facts)


def _add(values: list[str], value: object) -> None:
    if value is not None and str(value) and str(value) not in values:
        values.append(str(value))


def _cell(row: Mapping[str, Any]) -> Cell:
    """The row's numbers; types and ranges are the schema's, what agrees with what is checked here."""
    metric, value = str(row["main_metric"]), float(row["main_score"])
    metrics = {name: float(one) for name, one in (row.get("metrics") or {}).items()}
    if not isclose(metrics.setdefault(metric, value), value, abs_tol=1e-6):
        raise DataError(f"main_score is {value:g}, but metrics.{metric} is {metrics[metric]:g}")
    intervals = {}
    for name, (low, high) in (row.get("ci95") or {}).items():
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise DataError(f"ci95.{name}: [{low:g}, {high:g}] is outside 0..1")
        intervals[name] = (float(low), float(high))
    return Cell(value, metric, metrics, intervals, row.get("num_queries"), row.get("num_candidates"))
