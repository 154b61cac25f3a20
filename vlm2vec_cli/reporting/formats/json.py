"""JSON for programs: everything the report knows, numbers in full precision as fractions."""

import json
from typing import Any

from vlm2vec_cli.reporting.results import Cell, Column, Interval, Paired, Report

TAG = "vlm2vec/report@1"


def render(report: Report) -> str:
    """One indented JSON object."""
    return json.dumps(as_object(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_object(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    checks = None if report.checks is None else [_check(one) for one in report.checks]
    return {
        "schema": TAG,
        "title": report.title,
        "benchmark": report.benchmark,
        "gate": None if checks is None else {"passed": not report.failures, "checks": checks},
        "columns": [_column(column) for column in report.columns],
        "means": [_mean(report, index) for index in range(len(report.means))],
        "tasks": [_task(report, index) for index in range(len(report.tasks))],
        "missing": {name: list(gap) for name, gap in report.missing.items()},
        "notes": list(report.notes),
        "command": report.command,
        "tool_version": report.tool_version,
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "model": column.model,
        "role": "baseline" if column.baseline else "model",
        "sources": list(column.sources),
        "fingerprints": list(column.fingerprints),
        "tool_versions": list(column.tool_versions),
        "dim": column.stored.dim if column.stored else None,
        "precision": column.stored.precision if column.stored else None,
        "rescore": column.stored.rescore if column.stored else None,
        "num_queries": column.num_queries,
        "notes": list(column.notes),
    }


def _mean(report: Report, index: int) -> dict[str, Any]:
    mean = report.means[index]
    values = {column.name: report.mean(column, mean) for column in report.columns}
    return {
        "key": mean.key,
        "label": mean.label,
        "level": mean.level,
        "modality": mean.modality or None,
        "expected": len(mean.tasks),
        "values": {
            name: {"value": one.value, "ci95": _ends(one.interval), "found": one.found}
            for name, one in values.items()
        },
        "differences": _differences(report, mean.tested_as, list(mean.tasks)),
    }


def _task(report: Report, index: int) -> dict[str, Any]:
    task = report.tasks[index]
    return {
        "name": task.name,
        "modality": task.modality or None,
        "group": task.group or None,
        "task_type": task.task_type or None,
        "metric": task.metric,
        "values": {
            column.name: _cell(column.cells[task.name])
            for column in report.columns
            if task.name in column.cells
        },
        "differences": _differences(report, task.name, [task.name]),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "ci95": _ends(cell.interval),
        "num_queries": cell.num_queries,
        "num_candidates": cell.num_candidates,
        "conditions": dict(cell.conditions),
        "metrics": dict(cell.metrics),
        "metrics_ci95": {name: _ends(interval) for name, interval in cell.intervals.items()},
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _differences(report: Report, key: str, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for comparison in report.comparisons:
        value = report.difference(comparison, names)
        if value is not None:
            found.append(
                {
                    "of": report.columns[comparison.column].name,
                    "from": report.columns[comparison.reference].name,
                    "value": value,
                    "tasks": len(report.common(comparison, names)),
                    "paired": _paired(report.paired.get((comparison, key))),
                }
            )
    return found


def _paired(test: Paired | None) -> dict[str, Any] | None:
    if test is None:
        return None
    return {
        "ci95": list(test.interval),
        "p_value": test.p_value,
        "p_value_holm": test.adjusted,
        "significant": test.significant,
        "detectable": test.detectable,
        "num_queries": test.num_queries,
    }


def _check(check: Any) -> dict[str, Any]:
    return {
        "passed": check.passed,
        "name": check.name,
        "model": check.column,
        "baseline": check.reference,
        "rule": check.rule,
        "limit": check.limit,
        "actual": check.actual,
        "fact": check.fact,
    }
