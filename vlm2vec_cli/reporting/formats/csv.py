"""CSV in long form, a line each value: datasets with all their metrics, then the means. Full precision."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from vlm2vec_cli.reporting.numbers import printable
from vlm2vec_cli.reporting.results import Column, Comparison, Report, Task

HEAD = (
    *("level", "name", "modality", "group", "task_type", "model", "role", "metric", "main", "value"),
    *("ci95_low", "ci95_high", "num_queries", "num_candidates", "tasks_found", "tasks_expected"),
)


def render(report: Report) -> str:
    """The table; differences, and their tests, have a column a comparison, filled on lines of main values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    references = [f"difference from {report.columns[one.reference].name}" for one in report.comparisons]
    if report.paired:
        references += [f"p against {report.columns[one.reference].name}" for one in report.comparisons]
    writer.writerow(_line([*HEAD, *references]))
    for task in report.tasks:
        for index, column in enumerate(report.columns):
            if task.name in column.cells:
                writer.writerows(_task(report, task, index))
    for mean in report.means:
        for index, column in enumerate(report.columns):
            value = report.mean(column, mean)
            if value.found:
                about = [mean.level, mean.key, mean.modality, "", "", *_model(column), "main metric", "yes"]
                ends = value.interval or ("", "")
                numbers = [value.value, *ends, "", "", value.found, value.expected]
                differences = _differences(report, index, mean.tested_as, mean.tasks)
                writer.writerow(_line([*about, *numbers, *differences]))
    return out.getvalue()


def _task(report: Report, task: Task, index: int) -> Iterator[list[object]]:
    column = report.columns[index]
    cell = column.cells[task.name]
    about = ["task", task.name, task.modality, task.group, task.task_type, *_model(column)]
    for metric, value in cell.metrics.items():
        main = metric == cell.metric
        ends = cell.intervals.get(metric, ("", ""))
        numbers = [cell.value if main else value, *ends, cell.num_queries, cell.num_candidates, "", ""]
        none = [""] * len(report.comparisons) * (2 if report.paired else 1)
        differences = _differences(report, index, task.name, [task.name]) if main else none
        yield _line([*about, metric, "yes" if main else "no", *numbers, *differences])


def _model(column: Column) -> list[str]:
    return [column.name, "baseline" if column.baseline else "model"]


def _differences(report: Report, index: int, key: str, names: Sequence[str]) -> list[object]:
    def cell(comparison: Comparison) -> object:
        return report.difference(comparison, names) if comparison.column == index else ""

    def p_value(comparison: Comparison) -> object:
        test = report.paired.get((comparison, key)) if comparison.column == index else None
        return "" if test is None else test.adjusted

    tests = map(p_value, report.comparisons) if report.paired else ()
    return [*map(cell, report.comparisons), *tests]


def _line(values: Iterable[object]) -> list[object]:
    return [printable(value) if isinstance(value, str) else value for value in values]
