"""Score rows -> columns, one a model. The schema checks each row, this file what rows say together."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.reporting.results import Cell, Column, Stored
from vlm2vec_cli.schemas.base import Record

ROUNDING = 1e-6
"""Means of fractions may come out a rounding error above 1."""

UNNAMED = "unnamed model"

CONDITIONS = {
    "text_digest": "",
    "data_digest": "",
    "similarity": "cosine",
    "ties": "id",
    "no_relevant": "exclude",
    "judgement_digest": "",
    "novel": "",
    "ignored": "",
}
"""Fields of a row that have to agree for a comparison, with what an absent one means."""


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


def collect(
    records: Iterable[Record], *, baseline: bool = False, place: str = "", fields: Sequence[str] = ()
) -> Scores:
    """Columns in order of first appearance, one a model; rows of one model may lie in several files.

    A model whose vectors were scored at several dimensions and precisions has a column for each. `fields` are
    kept as facts beside those that always are; `place` names the input in the error for an empty one. Raises
    DataError for no row at all, for a second row of one (dataset, model), and for numbers of one row that
    contradict each other.
    """
    models: dict[tuple[str, Stored | None], _Gathered] = {}
    facts: dict[str, dict[str, str]] = {}
    for record in records:
        row = record.row
        dataset, model = str(row["dataset"]), str(row.get("model") or UNNAMED)
        stored = _stored(row)
        gathered = models.setdefault((model, stored), _Gathered())
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
        for key in ("modality", "task_type", "group", *fields):
            if row.get(key) not in (None, ""):
                known.setdefault(key, str(row[key]))
    if not models:
        raise DataError("no score rows", place=place, hint="`vlm2vec score` writes them")
    variants = Counter(model for model, _ in models)
    columns = [
        Column(
            f"{model} [{stored.label}]" if stored is not None and variants[model] > 1 else model,
            model,
            one.cells,
            baseline=baseline,
            sources=tuple(one.sources),
            fingerprints=tuple(one.fingerprints),
            tool_versions=tuple(one.tool_versions),
            stored=stored,
        )
        for (model, stored), one in models.items()
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
        if low < -ROUNDING or (high > 1 + ROUNDING and not row.get("num_with_repeats")):
            raise DataError(f"ci95.{name}: [{low:g}, {high:g}] is outside 0..1")
        intervals[name] = (float(low), float(high))
    conditions = {name: _said(row.get(name, usual)) for name, usual in CONDITIONS.items()}
    conditions = {name: value for name, value in conditions.items() if value}
    counts = row.get("num_queries"), row.get("num_candidates")
    return Cell(value, metric, metrics, intervals, *counts, conditions)


def _said(condition: object) -> str:
    return ", ".join(map(str, condition)) or "none" if isinstance(condition, list) else str(condition)


def _stored(row: Mapping[str, Any]) -> Stored | None:
    if row.get("dim") is None:
        return None
    return Stored(row["dim"], row.get("precision", "float32"), row.get("rescore"))
