"""Plain text for a terminal: ASCII, aligned, no wider than asked; failed checks first."""

import textwrap
from collections.abc import Sequence

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import printable
from vlm2vec_cli.reporting.results import Report

GAP = 2


def render(report: Report, *, width: int = 100) -> str:
    """The report in lines of at most `width` characters (40 at least)."""
    width = max(width, 40)
    blocks = [_clip(f"{printable(report.title)}: {tables.headline(report)}", width)]
    if report.checks is not None:
        blocks.append(_gate(report, width))
    heads = tables.heads(report, longest=_head_width(report, width))
    blocks.append(_means(report, heads, width))
    blocks.append(_tasks(report, heads, width))
    blocks.append("\n".join(_remarks(report, heads, width)))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head_width(report: Report, width: int) -> int:
    """How long a head may be so that all columns fit beside names and counts."""
    return max(10, (width - 45) // (len(report.columns) + len(report.comparisons)) - GAP)


def _gate(report: Report, width: int) -> str:
    verdict = "FAILED" if report.failures else "passed"
    lines = [f"gate {verdict}: {tables.gate_line(report)}"]
    for line in tables.check_lines(report):
        lines += textwrap.wrap(line, width, initial_indent="  FAIL  ", subsequent_indent="        ")
    return "\n".join(lines)


def _means(report: Report, heads: tables.Heads, width: int) -> str:
    rows = []
    for mean in tables.shown_means(report):
        label = f"  {mean.label}" if mean.inner else mean.label
        differences = [
            tables.difference_cell(report, one, mean.tested_as, mean.tasks) for one in report.comparisons
        ]
        rows.append(
            [printable(label), tables.counts(report, mean), *tables.mean_cells(report, mean), *differences]
        )
    return _table(["mean", "tasks", *heads.columns, *heads.differences], rows, fixed=2, left=1, width=width)


def _tasks(report: Report, heads: tables.Heads, width: int) -> str:
    """The tasks, with intervals, counts and metrics as far as the width allows."""
    for about, intervals in ((3, " +-"), (3, None), (2, None), (1, None)):
        head = [*("task", "metric", "queries")[:about], *heads.columns, *heads.differences]
        rows = []
        for task in report.tasks:
            cells = tables.task_cells(report.columns, task, intervals=intervals)
            differences = [
                tables.difference_cell(report, one, task.name, [task.name]) for one in report.comparisons
            ]
            facts = [printable(task.name), printable(task.metric), tables.queries(report, task)]
            rows.append([*facts[:about], *cells, *differences])
        widths = _widths(head, rows)
        if min(widths[0], _narrowest(width)) + sum(widths[1:]) + GAP * (len(head) - 1) <= width:
            break
    return _table(head, rows, fixed=about, left=min(about, 2), width=width)


def _narrowest(width: int) -> int:
    """How short the first column may get."""
    return max(16, width * 3 // 10)


def _remarks(report: Report, heads: tables.Heads, width: int) -> list[str]:
    has_intervals = any(cell.interval for column in report.columns for cell in column.cells.values())
    lines = ["values in percent" + (", +- half of the 95 % interval" if has_intervals else "")]
    lines += heads.legend
    if any(test.significant for test in report.paired.values()):
        lines.append(tables.MARKED)
    lines += tables.detectable_lines(report)
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"note: {column.name}: {note}" for column in report.columns for note in column.notes]
    wrapped = []
    for line in lines:
        wrapped += textwrap.wrap(printable(line), width, subsequent_indent="  ", break_on_hyphens=False)
    return wrapped


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, fixed: int, left: int, width: int) -> str:
    """Aligned columns; the first is shortened, then the table is cut into several, until it fits.

    The first `fixed` columns stand in every part, the first `left` are flush left.
    """
    widths = _widths(head, rows)
    narrowest = min(widths[0], _narrowest(width))
    spare = width - sum(widths) - GAP * (len(head) - 1)
    widths[0] = max(narrowest, widths[0] + min(0, spare))
    parts: list[list[int]] = [[]]
    base = sum(widths[:fixed]) + GAP * (fixed - 1)
    for index in range(fixed, len(head)):
        used = base + sum(widths[one] + GAP for one in parts[-1])
        if parts[-1] and used + GAP + widths[index] > width:
            parts.append([])
        parts[-1].append(index)
    blocks = []
    for part in parts:
        chosen = [*range(fixed), *part]
        lines = []
        for row in [head, ["-" * one for one in widths], *rows]:
            texts = [
                _clip(row[index], widths[index]).ljust(widths[index])
                if index < left
                else row[index].rjust(widths[index])
                for index in chosen
            ]
            lines.append((" " * GAP).join(texts).rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2]}.."
