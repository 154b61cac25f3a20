"""Markdown (GitHub's) for pull requests and build summaries: verdict, means, tasks, notes."""

import re
from collections.abc import Sequence

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import printable
from vlm2vec_cli.reporting.results import Report

FOLDED = 24
"""More tasks than this are folded away."""


def render(report: Report) -> str:
    """The report in Markdown; every name is escaped."""
    heads = tables.heads(report)
    blocks = [f"## {escape(report.title)}", f"{escape(tables.headline(report))}. Values in percent."]
    if report.checks is not None:
        mark = "\u274c" if report.failures else "\u2705"
        blocks.append(f"### {mark} Gate: {tables.gate_line(report)}")
        if report.failures:
            blocks.append("\n".join(f"- {escape(line)}" for line in tables.check_lines(report)))
    blocks.append(_means(report, heads))
    table = _tasks(report, heads)
    if len(report.tasks) > FOLDED:
        table = f"<details><summary>All {len(report.tasks)} tasks</summary>\n\n{table}\n\n</details>"
    blocks.append(table)
    blocks.append("\n".join(_remarks(report, heads)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and HTML leave as it is, also inside a table cell; mentions and links are broken."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*\[\]#|~]|(?<!\w)_|_(?!\w))", r"\\\1", plain)
    return re.sub(r"(?<![\w])@", "&#64;", plain).replace("://", ":&#47;&#47;")


def _means(report: Report, heads: tables.Heads) -> str:
    rows = []
    for mean in tables.shown_means(report):
        label = escape(mean.label)
        differences = [
            escape(tables.difference_cell(report, one, mean.tested_as, mean.tasks))
            for one in report.comparisons
        ]
        label = f"&emsp;{label}" if mean.inner else f"**{label}**"
        cells = tables.mean_cells(report, mean)
        cells = _best(cells) if tables.same_counts(report, mean) else cells
        rows.append([label, tables.counts(report, mean), *cells, *differences])
    return _table(["Mean", "Tasks", *heads.columns, *heads.differences], rows, left=1)


def _tasks(report: Report, heads: tables.Heads) -> str:
    rows = []
    for task in report.tasks:
        cells = tables.task_cells(report.columns, task, intervals=" \u00b1\u2009")
        differences = [
            escape(tables.difference_cell(report, one, task.name, [task.name])) for one in report.comparisons
        ]
        rows.append(
            [escape(task.name), escape(task.metric), tables.queries(report, task), *cells, *differences]
        )
    return _table(["Task", "Metric", "Queries", *heads.columns, *heads.differences], rows, left=2)


def _best(cells: Sequence[str]) -> list[str]:
    numbers = [float(cell) for cell in cells if cell != "-"]
    if len(numbers) < 2:
        return list(cells)
    return [f"**{cell}**" if cell != "-" and float(cell) == max(numbers) else cell for cell in cells]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    rule = [":--" if index < left else "--:" for index in range(len(head))]
    lines = [[escape(one) for one in head], rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _remarks(report: Report, heads: tables.Heads) -> list[str]:
    lines = list(heads.legend)
    if any(test.significant for test in report.paired.values()):
        lines.append(tables.MARKED)
    lines += tables.detectable_lines(report)
    lines += list(report.notes)
    lines += [f"{column.name}: {note}" for column in report.columns for note in column.notes]
    return [f"- {escape(line)}" for line in lines]
