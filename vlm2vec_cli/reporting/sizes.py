"""How much quality smaller vectors keep: one curve a model and way of rounding, points by bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from vlm2vec_cli.reporting.results import Column, Report, Stored


@dataclass(frozen=True, slots=True)
class Point:
    """One size of a model's vectors with the mean of the main metric."""

    label: str
    num_bytes: float
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Vectors of one precision, small ones first; all curves of a model are over the same tasks."""

    label: str
    points: tuple[Point, ...]
    num_tasks: int


def curves(report: Report) -> dict[str, list[Curve]]:
    """By model, the curves of those that stand in the report in several sizes."""
    found = {}
    by_model: dict[str, list[tuple[Column, Stored]]] = {}
    for column in report.columns:
        if column.stored is not None:
            by_model.setdefault(column.model, []).append((column, column.stored))
    for model, columns in by_model.items():
        common = [
            task.name for task in report.tasks if all(task.name in column.cells for column, _ in columns)
        ]
        if len({stored for _, stored in columns}) > 1 and common:
            found[model] = _curves(columns, common)
    return found


def _curves(columns: Sequence[tuple[Column, Stored]], names: Sequence[str]) -> list[Curve]:
    points: dict[str, list[Point]] = {}
    for column, stored in columns:
        label = stored.precision + ("" if stored.rescore is None else f", {stored.rescore} rescored")
        value = fsum(column.cells[name].value for name in names) / len(names)
        points.setdefault(label, []).append(Point(stored.label, stored.num_bytes, value))
    return [
        Curve(label, tuple(sorted(several, key=lambda one: one.num_bytes)), len(names))
        for label, several in points.items()
    ]
