"""LaTeX (booktabs, longtable): the means with a model a line, as the paper prints them; then the tasks."""

from collections.abc import Sequence

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import percent, printable
from vlm2vec_cli.reporting.results import Mean, Report

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def render(report: Report) -> str:
    """Two tables to \\input; they need \\usepackage{booktabs,longtable}."""
    return f"% needs \\usepackage{{booktabs,longtable}}\n{_means(report)}\n{_tasks(report)}"


def escape(text: str) -> str:
    """Text that TeX prints as it is."""
    return "".join(SPECIAL.get(one, one) for one in printable(text))


def _means(report: Report) -> str:
    means = _paper_order(report)
    spans, rules, start = [], [], 2
    for modality in dict.fromkeys(mean.modality for mean in means if mean.modality):
        size = sum(mean.modality == modality for mean in means)
        title = next(m.label for m in means if m.modality == modality and m.level == "modality")
        spans.append(rf"\multicolumn{{{size}}}{{c}}{{{escape(title)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
        start += size
    rest = len(means) - (start - 2)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(report.title)}, means in percent.}}",
        rf"\begin{{tabular}}{{l{'r' * len(means)}}}",
        r"\toprule",
    ]
    if spans:
        lines += [" & ".join(["", *spans, *[""] * rest]) + r" \\", " ".join(rules)]
    lines += [
        _line(["Model", *("Avg" if mean.level == "modality" else escape(mean.label) for mean in means)]),
        _line(["tasks", *(escape(tables.counts(report, mean)) for mean in means)]),
        r"\midrule",
    ]
    best = [_best(report, mean) for mean in means]
    for column in report.columns:
        values = [report.mean(column, mean).value for mean in means]
        lines.append(_line([escape(column.name), *_bold(values, best)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _best(report: Report, mean: Mean) -> float | None:
    """The highest mean; none where the columns average over different numbers of tasks."""
    values = [report.mean(column, mean).value for column in report.columns]
    if len(values) < 2 or not tables.same_counts(report, mean):
        return None
    return max(value for value in values if value is not None)


def _paper_order(report: Report) -> list[Mean]:
    """Groups, then their modality's mean, overall last."""
    shown = tables.shown_means(report)
    return [mean for mean in report.means if mean in shown]


def _tasks(report: Report) -> str:
    heads = [escape(head) for head in tables.heads(report).columns]
    lines = [
        rf"\begin{{longtable}}{{ll{'r' * len(report.columns)}}}",
        rf"\caption{{{escape(report.title)}, main metric of every task in percent.}}\\",
        r"\toprule",
        _line(["Task", "Metric", *heads]),
        r"\midrule",
        r"\endhead",
    ]
    group = None
    for task in report.tasks:
        if group is not None and (task.modality, task.group) != group:
            lines.append(r"\addlinespace")
        group = task.modality, task.group
        cells = [column.cells.get(task.name) for column in report.columns]
        values = [None if cell is None else cell.value for cell in cells]
        best = max(value for value in values if value is not None) if len(values) > 1 else None
        texts = _bold(values, [best] * len(values))
        lines.append(_line([escape(task.name), escape(task.metric), *texts]))
    lines += [r"\bottomrule", r"\end{longtable}"]
    lines += [f"% {line}" for line in tables.heads(report).legend]
    return "\n".join(lines) + "\n"


def _bold(values: Sequence[float | None], best: Sequence[float | None]) -> list[str]:
    texts = []
    for value, highest in zip(values, best, strict=True):
        text = "--" if value is None else percent(value)
        texts.append(rf"\textbf{{{text}}}" if value is not None and value == highest else text)
    return texts


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
