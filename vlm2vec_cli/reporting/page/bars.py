"""The bar chart of every task: a bar a model on a scale of 0 to 100, its 95 % interval as a whisker."""

from collections.abc import Sequence

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.layout import modality_label
from vlm2vec_cli.reporting.numbers import half_width, percent, plural
from vlm2vec_cli.reporting.page.grids import difference
from vlm2vec_cli.reporting.page.markup import Html, element, join
from vlm2vec_cli.reporting.page.series import Series, legend
from vlm2vec_cli.reporting.results import Cell, Interval, Mean, Report, Task


def section(report: Report, series: list[Series]) -> Html:
    """All tasks, by modality and group; groups of mostly one task share a chart."""
    parts: list[Html] = []
    modalities = list(dict.fromkeys(task.modality for task in report.tasks))
    for modality in modalities:
        groups: dict[str, list[Task]] = {}
        for task in report.tasks:
            if task.modality == modality:
                groups.setdefault(task.group, []).append(task)
        if modality or len(modalities) > 1:
            parts.append(element("h3", modality_label(modality) if modality else "Other datasets"))
        if len(groups) == 1 or 2 * len(groups) > sum(map(len, groups.values())):
            rows = [
                _row(report, series, task, group=_label(report, group, tasks))
                for group, tasks in groups.items()
                for task in tasks
            ]
            parts.append(element("ul", *rows, class_="chart"))
        else:
            parts += [_group(report, series, group, tasks) for group, tasks in groups.items()]
    whiskers = any(cell.interval for one in series for cell in one.column.cells.values())
    scale = "Percent of the main metric" + ("; whiskers are 95 % intervals." if whiskers else ".")
    return element(
        "section",
        element("h2", "Tasks"),
        element("p", scale, class_="hint"),
        legend(series),
        join(parts),
        id="tasks",
    )


def _group(report: Report, series: list[Series], group: str, tasks: Sequence[Task]) -> Html:
    head = None
    if group:
        mean = _mean(report, tasks)
        count = plural(len(tasks), "task") if mean is None else tables.extent(report, mean)
        head = element("h4", _label(report, group, tasks), element("small", count))
    rows = [_row(report, series, task, group="") for task in tasks]
    return element("div", head, element("ul", *rows, class_="chart"), class_="group")


def _mean(report: Report, tasks: Sequence[Task]) -> Mean | None:
    names = {task.name for task in tasks}
    return next((one for one in report.means if one.level == "group" and names <= set(one.tasks)), None)


def _label(report: Report, group: str, tasks: Sequence[Task]) -> str:
    mean = _mean(report, tasks)
    return group if mean is None else mean.label


def _row(report: Report, series: list[Series], task: Task, *, group: str) -> Html:
    lines = []
    for one in series:
        cell = one.column.cells.get(task.name)
        if cell is not None:
            lines.append(_bar(one, cell))
    differences = [
        difference(report, comparison, task.name, [task.name], tag="span")
        for comparison in report.comparisons
        if len(report.comparisons) == 1 and report.difference(comparison, [task.name]) is not None
    ]
    about = f"{group}, {task.metric}" if group else task.metric
    name = element("div", element("span", task.name, class_="name"), element("small", about))
    return element("li", name, element("div", *lines, class_="bars"), *differences, class_="task")


def _bar(series: Series, cell: Cell) -> Html:
    width = half_width(cell.value, cell.interval)
    shapes = [element("rect", y="2", height="9", rx="1.5", width=_x(cell.value), class_=series.colour)]
    if cell.interval is not None:
        shapes.append(whisker(cell.interval))
    text = f"{series.name}: {percent(cell.value)}" + (f" \u00b1 {width}" if width else "")
    picture = element("svg", element("title", text), *shapes, class_="bar", aria_hidden="true")
    number = element(
        "span",
        element("span", f"{series.name} ", class_="spoken"),
        percent(cell.value),
        element("small", f"\u00b1{width}") if width else None,
        class_="number",
    )
    return element("div", picture, number, class_="line")


def whisker(interval: Interval) -> Html:
    """A line from end to end of the interval, with caps."""
    low, high = _x(interval[0]), _x(interval[1])
    return join(
        [
            element("line", x1=low, x2=high, y1="6.5", y2="6.5"),
            element("line", x1=low, x2=low, y1="4", y2="9"),
            element("line", x1=high, x2=high, y1="4", y2="9"),
        ],
        "",
    )


def _x(value: float) -> str:
    return f"{min(max(value, 0.0), 1.0) * 100:.2f}%"
