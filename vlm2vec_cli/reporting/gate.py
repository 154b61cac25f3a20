"""Thresholds and whether they hold.

A `min` asks a value to be at least so high: of a dataset's main metric (`MSCOCO_i2t`), of another metric
(`MSCOCO_i2t:hit@5`) or of a mean (`image`, `I-RET`, `overall`). A `max_drop` asks that a value lies at
most so far under the baseline's, in points of the fraction (0.01) or relative to the baseline (2%);
without a name it holds for the main metric of every dataset. Every model of the scores is checked.
What has no score fails: a dataset that was forgotten must not pass as one that is fine. So does a mean over
fewer datasets than the baseline's file has of it, unless missing ones are allowed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.reporting.numbers import apart, percent, plural, signed
from vlm2vec_cli.reporting.results import Check, Column, Comparison, Mean, Report

ROUNDING = 1e-9
NAMED = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """One threshold as given; `name` None means every dataset; `place` is the option or file it is from."""

    kind: Literal["min", "max_drop"]
    name: str | None
    amount: float
    relative: bool
    place: str


def parse_min(text: str) -> Limit:
    """`NAME=VALUE`, VALUE as 0.6 or 60%."""
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"expected NAME=VALUE, got {text!r}", place="--min", hint="such as --min image=0.6")
    amount, _ = amount_of(value, "--min")
    return Limit("min", name, amount, False, "--min")


def parse_max_drop(text: str) -> Limit:
    """`VALUE` for every dataset or `NAME=VALUE`; VALUE as 0.01 (absolute) or 2% (of the baseline)."""
    name, equals, value = text.rpartition("=")
    amount, relative = amount_of(value, "--max-drop")
    return Limit("max_drop", name if equals else None, amount, relative, "--max-drop")


def amount_of(value: str, place: str) -> tuple[float, bool]:
    """A fraction in 0..1 and whether it was written as a percentage."""
    text = value.strip()
    try:
        amount = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= 1:
        raise UsageError(f"expected a fraction in 0..1 or a percentage, got {value!r}", place=place)
    return amount, text.endswith("%")


def check(
    report: Report, limits: Sequence[Limit], *, significant: bool, allow_missing: bool
) -> tuple[Check, ...]:
    """All checks, the failed ones first. Raises UsageError for names that nothing has."""
    if any(limit.kind == "max_drop" for limit in limits) and not any(one.baseline for one in report.columns):
        raise UsageError("--max-drop compares with a baseline", hint="add --baseline FILE or published:NAME")
    checks: list[Check] = []
    for limit in limits:
        if limit.kind == "min":
            checks += [_minimum(report, column, limit, allow_missing) for column in report.models]
    checks += _drops(
        report, [limit for limit in limits if limit.kind == "max_drop"], significant, allow_missing
    )
    return tuple(sorted(checks, key=lambda one: one.passed))


def _minimum(report: Report, column: Column, limit: Limit, allow_missing: bool) -> Check:
    name = str(limit.name)
    value, suffix = _value(report, column, name, limit.place)
    rule = f"at least {percent(limit.amount, 2)}"
    if value is None:
        fact = f"{name} has no score"
        return Check(name, column.name, rule, False, fact, None, limit.amount)
    passed = value >= limit.amount - ROUNDING
    actual, least = apart(value, limit.amount)
    fact = f"{name} {actual} is {'at least' if passed else 'below'} {least}{suffix}"
    mean = _mean(report, name)
    if passed and mean is not None and not allow_missing:
        sides = [one for one in report.comparisons if report.columns[one.column].name == column.name]
        forgotten = _forgotten(mean, column, [report.columns[one.reference] for one in sides])
        passed, fact = not forgotten, f"{fact}, but {forgotten}" if forgotten else fact
    return Check(name, column.name, rule, passed, fact, value, limit.amount)


def _value(report: Report, column: Column, name: str, place: str) -> tuple[float | None, str]:
    """The value called `name` and, for a mean over fewer tasks than expected, a remark on that."""
    mean = _mean(report, name)
    if mean is not None:
        value = report.mean(column, mean)
        partial = 0 < value.found < value.expected
        return value.value, f", over {value.found} of {value.expected} tasks" if partial else ""
    dataset, metric = _dataset_and_metric(report, name, place)
    cell = column.cells.get(dataset)
    if cell is None:
        return None, ""
    return (cell.value if metric is None else cell.metrics.get(metric)), ""


def _mean(report: Report, name: str) -> Mean | None:
    if name in _datasets(report):
        return None
    return next((mean for mean in report.means if mean.key.casefold() == name.casefold()), None)


def _forgotten(mean: Mean, column: Column, references: Iterable[Column]) -> str:
    """Words on the datasets of a mean that a baseline's file has and the scores have not; "" for none."""
    expected = {name for one in references if one.baseline and not one.published for name in one.cells}
    expected &= set(mean.tasks)
    missing = [name for name in mean.tasks if name in expected - column.cells.keys()]
    if not missing:
        return ""
    names = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if missing[NAMED:] else "")
    found = len(expected) - len(missing)
    return f"over {found} of the baseline's {plural(len(expected), 'dataset')}: no {names}"


def _datasets(report: Report) -> dict[str, None]:
    listed = [name for mean in report.means for name in mean.tasks]
    return dict.fromkeys([task.name for task in report.tasks] + listed)


def _dataset_and_metric(report: Report, name: str, place: str) -> tuple[str, str | None]:
    datasets = _datasets(report)
    if name in datasets:
        return name, None
    dataset, _, metric = name.rpartition(":")
    if dataset in datasets:
        metrics = {
            one
            for column in report.models
            if dataset in column.cells
            for one in column.cells[dataset].metrics
        }
        if metric in metrics or not metrics:
            main = next((task.metric for task in report.tasks if task.name == dataset), None)
            return dataset, None if metric == main else metric
        known = ", ".join(sorted(metrics))
        raise UsageError(
            f"{dataset} has no metric {metric!r}",
            place=place,
            hint=nearest(metric, metrics) or f"it has {known}",
        )
    known_names = [*datasets, *(mean.key for mean in report.means)]
    raise UsageError(
        f"no dataset or mean is named {name!r}",
        place=place,
        hint=nearest(name, known_names) or f"means are {', '.join(mean.key for mean in report.means)}",
    )


def _drops(report: Report, limits: Sequence[Limit], significant: bool, allow_missing: bool) -> list[Check]:
    default = next((limit for limit in limits if limit.name is None), None)
    named = {str(limit.name): limit for limit in limits if limit.name is not None}
    checks = []
    for comparison in report.comparisons:
        if not report.columns[comparison.reference].baseline:
            continue
        for name, limit in named.items():
            checks.append(_drop(report, comparison, name, limit, significant, allow_missing))
        for name in _compared(report, comparison, allow_missing) if default is not None else ():
            if name not in named and default is not None:
                checks.append(_drop(report, comparison, name, default, significant, allow_missing))
    return checks


def _compared(report: Report, comparison: Comparison, allow_missing: bool) -> Iterable[str]:
    """Datasets that the bare limit holds for: the common ones, and the baseline file's that have no score."""
    column, reference = report.columns[comparison.column], report.columns[comparison.reference]
    for task in report.tasks:
        if task.name in reference.cells:
            optional = allow_missing or reference.published
            if task.name in column.cells or not optional:
                yield task.name


def _drop(
    report: Report,
    comparison: Comparison,
    name: str,
    limit: Limit,
    significant: bool,
    allow_missing: bool,
) -> Check:
    column, reference = report.columns[comparison.column], report.columns[comparison.reference]
    mean = _mean(report, name)
    dataset, metric = (None, None) if mean is not None else _dataset_and_metric(report, name, limit.place)
    names = report.common(comparison, [str(dataset)] if mean is None else mean.tasks)
    rule = f"at most {percent(limit.amount, 2)}{' %' if limit.relative else ' points'} under the baseline"

    def result(passed: bool, fact: str, actual: float | None) -> Check:
        return Check(name, column.name, rule, passed, fact, actual, limit.amount, reference.name)

    if not names:
        who = "the baseline" if column.cells.keys() & {dataset} else column.name
        return result(False, f"{name} has no score of {who} to compare", None)
    before, after = (_average(side, names, metric) for side in (reference, column))
    if before is None or after is None:
        return result(False, f"{name} has no value to compare", None)
    drop, allowed = before - after, limit.amount * (before if limit.relative else 1)
    fact = f"{name} {percent(before, 2)} -> {percent(after, 2)}, {signed(-drop, 2)}"
    if drop > allowed + ROUNDING:
        fact += f" is more than the allowed drop of {apart(drop, allowed)[1]}"
        test = report.paired.get((comparison, str(dataset) if mean is None else mean.tested_as))
        if not significant or metric is not None or test is None or test.significant:
            return result(False, fact, -drop)
        fact += f", but may be chance (p = {test.adjusted:.2g})"
    forgotten = "" if mean is None or allow_missing else _forgotten(mean, column, [reference])
    return result(not forgotten, f"{fact}, but {forgotten}" if forgotten else fact, -drop)


def _average(column: Column, names: Sequence[str], metric: str | None) -> float | None:
    values = [
        column.cells[name].value if metric is None else column.cells[name].metrics.get(metric)
        for name in names
    ]
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
