"""The tables of the page: means, every task (sortable), every metric."""

from collections.abc import Sequence

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import half_width, percent
from vlm2vec_cli.reporting.page.markup import Html, element
from vlm2vec_cli.reporting.page.series import Series
from vlm2vec_cli.reporting.results import Comparison, MeanValue, Report, Task

WHEN_FILTERED = 12
"""More tasks than this get a filter."""


def means(report: Report, series: list[Series]) -> Html:
    """Modality and overall means with their groups indented."""
    body = []
    for mean in tables.shown_means(report):
        values = [report.mean(one.column, mean) for one in series]
        best = max(value.value for value in values if value.value is not None)
        comparable = len(series) > 1 and tables.same_counts(report, mean)
        cells = [_mean(value, best if comparable else None, partial=not comparable) for value in values]
        differences = [difference(report, one, mean.tested_as, mean.tasks) for one in report.comparisons]
        count = element("td", tables.counts(report, mean), class_="count")
        head = element("th", mean.label, scope="row")
        body.append(
            element("tr", head, count, *cells, *differences, class_="group" if mean.inner else mean.level)
        )
    return element(
        "section",
        element("h2", "Means"),
        element(
            "p",
            "Plain means of the main metric over the tasks found, in percent."
            " Differences are over the tasks that both sides have.",
            class_="hint",
        ),
        _table("Means", [_th("Mean"), _th("Tasks"), *_column_heads(report, series)], body),
        id="means",
    )


def _mean(value: MeanValue, best: float | None, *, partial: bool) -> Html:
    """One mean, its interval, and how many tasks it is over where that differs from column to column."""
    width = half_width(value.value, value.interval) if value.value is not None else ""
    few = partial and value.found < value.expected
    text = percent(value.value)
    return element(
        "td",
        element("b", text) if value.value is not None and value.value == best else text,
        element("small", f" \u00b1{width}") if width else None,
        element("small", f" {value.found} of {value.expected}", class_="partial") if few else None,
    )


def tasks(report: Report, series: list[Series]) -> Html:
    """Every task's main number; heads are buttons that sort."""
    body = []
    for task in report.tasks:
        values = [one.column.cells.get(task.name) for one in series]
        best = max(value.value for value in values if value is not None)
        cells = []
        for cell in values:
            if cell is None:
                cells.append(element("td", "\u2013", data_value="-1"))
                continue
            width = half_width(cell.value, cell.interval)
            text = percent(cell.value)
            strong = cell.value == best and len(series) > 1
            cells.append(
                element(
                    "td",
                    element("b", text) if strong else text,
                    element("small", f" \u00b1{width}") if width else None,
                    data_value=repr(cell.value),
                )
            )
        differences = [difference(report, one, task.name, [task.name]) for one in report.comparisons]
        body.append(
            element(
                "tr",
                element("th", task.name, scope="row"),
                *cells,
                *differences,
                element("td", task.metric, class_="text"),
                element("td", tables.queries(report, task)),
                element("td", _place(report, task), class_="text"),
            )
        )
    heads = [
        _th("Task", sort="text"),
        *_column_heads(report, series, sort=True),
        _th("Metric", sort="text"),
        _th("Queries", sort="number"),
        _th("Group", sort="text"),
    ]
    search = element(
        "p",
        element(
            "label",
            "Filter ",
            element("input", type="search", data_filter="numbers-table", autocomplete="off"),
        ),
        class_="filter",
        hidden=True,
    )
    marked = any(test.significant for test in report.paired.values())
    return element(
        "section",
        element("h2", "All numbers"),
        element("p", f"Select a head to sort.{f' {tables.MARKED}.' if marked else ''}", class_="hint"),
        search if len(report.tasks) > WHEN_FILTERED else None,
        _table("All numbers", heads, body, id="numbers-table"),
        id="numbers",
    )


def metrics(report: Report, series: list[Series]) -> Html:
    """Every metric of every task, folded, a table a model."""
    parts = []
    for one in series:
        names = list(dict.fromkeys(name for task in report.tasks for name in _metrics(one, task)))
        body = [
            element(
                "tr",
                element("th", task.name, scope="row"),
                *(_metric(one, task, name) for name in names),
            )
            for task in report.tasks
            if task.name in one.column.cells
        ]
        heads = [_th("Task", sort="text"), *(_th(name, sort="number") for name in names)]
        title = f"All metrics of {one.name}"
        parts.append(element("details", element("summary", one.label()), _table(title, heads, body)))
    return element("section", element("h2", "All metrics"), *parts, id="metrics")


def _metrics(series: Series, task: Task) -> list[str]:
    cell = series.column.cells.get(task.name)
    return [] if cell is None else list(cell.metrics)


def _metric(series: Series, task: Task, name: str) -> Html:
    value = series.column.cells[task.name].metrics.get(name)
    text = percent(value) if value is not None else "\u2013"
    main = name == series.column.cells[task.name].metric
    return element(
        "td", element("b", text) if main else text, data_value=repr(value) if value is not None else "-1"
    )


def _place(report: Report, task: Task) -> str:
    mean = next((one for one in report.means if one.level == "group" and task.name in one.tasks), None)
    return " / ".join(
        part for part in (task.modality, mean.label if mean is not None else task.group) if part
    )


def difference(
    report: Report, comparison: Comparison, key: str, names: Sequence[str], *, tag: str = "td"
) -> Html:
    """A difference in points, coloured by its direction; the paired test on hover."""
    value = report.difference(comparison, names)
    text = tables.difference_cell(report, comparison, key, names)
    sign = "even" if value is None else "up" if text[0] == "+" else "down" if text[0] == "-" else "even"
    test = report.paired.get((comparison, key))
    title = None
    if test is not None:
        low, high = test.interval
        title = (
            f"95 % interval {low * 100:+.1f} to {high * 100:+.1f}, p = {test.adjusted:.2g};"
            f" differences from {test.detectable * 100:.1f} on would have shown"
        )
    shown = text.replace("-", "\u2212")
    return element(
        tag, shown, class_=f"diff {sign}", title=title, data_value="-9" if value is None else repr(value)
    )


def _column_heads(report: Report, series: list[Series], *, sort: bool = False) -> list[Html]:
    kind = "number" if sort else None
    heads = [_th(one.label(), sort=kind) for one in series]
    for comparison in report.comparisons:
        text = "Diff."
        if len(report.comparisons) > 1:
            text = f"{series[comparison.column].name} \u2212 {series[comparison.reference].name}"
        heads.append(_th(text, sort=kind, class_="wide" if len(report.comparisons) > 1 else None))
    return heads


def _th(label: str, *, sort: str | None = None, class_: str | None = None) -> Html:
    if sort is None:
        return element("th", label, scope="col", class_=class_)
    button = element("button", label, type="button")
    left = "text" if sort == "text" else class_
    return element("th", button, scope="col", class_=left, aria_sort="none", data_sort=sort)


def _table(name: str, heads: list[Html], body: list[Html], *, id: str | None = None) -> Html:
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *body), id=id)
    return element("div", table, class_="scroll", role="region", aria_label=name, tabindex="0")
