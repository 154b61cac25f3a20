"""The report as data: columns of cells, tasks in groups, means, differences. Nothing here renders.

Values, differences and interval ends are fractions; a difference is `column - reference`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import fsum, sqrt
from typing import Literal

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """One dataset's result of one model: the main number and everything measured beside it."""

    value: float
    metric: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    num_queries: int | None = None
    num_candidates: int | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)
    """What has to be the same on both sides of a comparison, where the row says it."""

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the main number."""
        return self.intervals.get(self.metric)


@dataclass(frozen=True, slots=True)
class Stored:
    """How vectors were kept: numbers used, precision, how many candidates whole vectors put in order."""

    dim: int
    precision: str = "float32"
    rescore: int | None = None

    @property
    def num_bytes(self) -> float:
        """Bytes a vector."""
        return self.dim * {"float16": 2.0, "int8": 1.0, "binary": 1 / 8}.get(self.precision, 4.0)

    @property
    def label(self) -> str:
        """Such as "256", "1536 int8", "1536 binary, 100 rescored"."""
        text = str(self.dim) if self.precision == "float32" else f"{self.dim} {self.precision}"
        return text if self.rescore is None else f"{text}, {self.rescore} rescored"


@dataclass(frozen=True, slots=True)
class Column:
    """One model's cells, by dataset; `baseline` columns are compared with, never judged.

    `name` is unique in a report, `model` and `stored` are what the rows say.
    """

    name: str
    model: str
    cells: Mapping[str, Cell]
    baseline: bool = False
    published: bool = False
    sources: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    tool_versions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stored: "Stored | None" = None

    def digest(self, condition: str) -> str:
        """One value for a condition of all cells: theirs where it is one, else a digest of them all."""
        known = {
            name: cell.conditions[condition]
            for name, cell in self.cells.items()
            if condition in cell.conditions
        }
        values = set(known.values())
        if len(values) < 2:
            return next(iter(values), "")
        joined = "\0".join(f"{name}\0{value}" for name, value in sorted(known.items()))
        return blake2b(joined.encode(), digest_size=8).hexdigest()

    @property
    def num_queries(self) -> int | None:
        """Queries of all datasets together; None where no row says."""
        counts = [cell.num_queries for cell in self.cells.values() if cell.num_queries is not None]
        return sum(counts) if counts else None


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset and its place; `listed` tasks belong to the benchmark."""

    name: str
    modality: str
    group: str
    task_type: str
    metric: str
    listed: bool = False


Level = Literal["group", "split", "modality", "overall"]
"""A split is a second division of tasks, beside the groups."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A plain mean over `tasks`; `key` is its name on the command line, `label` what tables print."""

    key: str
    label: str
    level: Level
    modality: str
    tasks: tuple[str, ...]

    @property
    def tested_as(self) -> str:
        """Under what `Report.paired` has its test: no name of a dataset, whatever those are called."""
        return f"\0{self.key}"

    @property
    def inner(self) -> bool:
        """Whether it is over a part of a modality."""
        return self.level in ("group", "split")


@dataclass(frozen=True, slots=True)
class MeanValue:
    """A mean over the `found` tasks that have a score, of `expected`; None where there are none."""

    value: float | None
    interval: Interval | None
    found: int
    expected: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column set against a reference column, both as positions in `Report.columns`."""

    column: int
    reference: int


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired test of a dataset or a mean: `p_value` two-sided, `adjusted` for all of its kind (Holm).

    `detectable` is the smallest difference that this many queries would have shown with 80 % power.
    """

    difference: float
    interval: Interval
    p_value: float
    adjusted: float
    num_queries: int
    detectable: float

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance at 5 %."""
        return self.adjusted < 0.05


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold and whether it held; `fact` is the sentence that people read."""

    name: str
    column: str
    rule: str
    passed: bool
    fact: str
    actual: float | None
    limit: float
    reference: str | None = None


@dataclass(frozen=True)
class Report:
    """Everything a format prints."""

    title: str
    benchmark: str | None
    columns: tuple[Column, ...]
    tasks: tuple[Task, ...]
    means: tuple[Mean, ...]
    comparisons: tuple[Comparison, ...] = ()
    paired: Mapping[tuple[Comparison, str], Paired] = field(default_factory=dict)
    checks: tuple[Check, ...] | None = None
    notes: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    command: str = ""
    tool_version: str = ""

    @property
    def models(self) -> tuple[Column, ...]:
        """The columns that are judged."""
        return tuple(column for column in self.columns if not column.baseline)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks or () if not check.passed)

    def mean(self, column: Column, mean: Mean) -> MeanValue:
        """The mean of the main metric over the tasks that `column` has.

        Its interval takes the tasks as independent: half widths add in squares. Absent unless every
        task found has one.
        """
        cells = [column.cells[name] for name in mean.tasks if name in column.cells]
        if not cells:
            return MeanValue(None, None, 0, len(mean.tasks))
        value = fsum(cell.value for cell in cells) / len(cells)
        ends = [cell.interval for cell in cells]
        interval = None
        if all(ends):
            below = sqrt(fsum((c.value - e[0]) ** 2 for c, e in zip(cells, ends, strict=True) if e)) / len(
                cells
            )
            above = sqrt(fsum((e[1] - c.value) ** 2 for c, e in zip(cells, ends, strict=True) if e)) / len(
                cells
            )
            interval = (value - below, value + above)
        return MeanValue(value, interval, len(cells), len(mean.tasks))

    def common(self, comparison: Comparison, names: Sequence[str]) -> list[str]:
        """Those of `names` that both sides of the comparison have."""
        sides = self.columns[comparison.column], self.columns[comparison.reference]
        return [name for name in names if all(name in side.cells for side in sides)]

    def difference(self, comparison: Comparison, names: Sequence[str]) -> float | None:
        """The mean difference over the tasks of `names` that both sides have; None where there are none."""
        column, reference = self.columns[comparison.column], self.columns[comparison.reference]
        common = self.common(comparison, names)
        if not common:
            return None
        return fsum(column.cells[name].value - reference.cells[name].value for name in common) / len(common)
