"""Two more pictures: every task of one model against another, and quality against the size of a vector."""

from collections.abc import Sequence
from math import log2

from vlm2vec_cli.reporting import sizes
from vlm2vec_cli.reporting.layout import modality_label
from vlm2vec_cli.reporting.numbers import percent, plural, signed
from vlm2vec_cli.reporting.page.markup import Html, element
from vlm2vec_cli.reporting.page.series import Series
from vlm2vec_cli.reporting.results import Comparison, Report, Task
from vlm2vec_cli.reporting.sizes import Curve, Point

SIDE, LEFT, TOP, BOTTOM = 300, 40, 12, 38
WIDTH, HEIGHT = SIDE + LEFT + 16, SIDE + TOP + BOTTOM
FEWEST = 6
"""Fewer common tasks than this need no scatter."""
MOST = 4
"""More comparisons than this are left to the tables."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MARKS = 3


def scatter(report: Report, series: list[Series]) -> Html | None:
    """A point a task for each comparison: the reference to the right, the column upwards."""
    figures = []
    for comparison in report.comparisons[:MOST]:
        tasks = [task for task in report.tasks if report.common(comparison, [task.name])]
        if len(tasks) >= FEWEST:
            figures.append(_scatter(report, series, comparison, tasks))
    if not figures:
        return None
    modalities = _modalities(report)
    keys = [
        element("li", element("span", _key(at), modality_label(name), class_="series"))
        for at, name in enumerate(modalities)
    ]
    return element(
        "section",
        element("h2", "Comparison"),
        element("p", "A point a task, in percent; above the diagonal it got better.", class_="hint"),
        element("ul", *keys, class_="legend") if len(modalities) > 1 else None,
        element("div", *figures, class_="figures"),
        id="comparison",
    )


def _modalities(report: Report) -> list[str]:
    return [name for name in dict.fromkeys(task.modality for task in report.tasks) if name]


def _key(at: int) -> Html:
    return element("svg", _mark(5, 5, at), class_="swatch", viewBox="0 0 10 10", aria_hidden="true")


def _scatter(report: Report, series: list[Series], comparison: Comparison, tasks: Sequence[Task]) -> Html:
    column, reference = series[comparison.column], series[comparison.reference]
    modalities = _modalities(report)
    points = []
    for task in tasks:
        before, after = (one.column.cells[task.name].value for one in (reference, column))
        kind = modalities.index(task.modality) if task.modality in modalities else 0
        title = f"{task.name}: {percent(before)} \u2192 {percent(after)} ({signed(after - before)})"
        points.append(element("g", element("title", title), _mark(_x(before), _y(after), kind)))
    better = sum(
        column.column.cells[task.name].value > reference.column.cells[task.name].value for task in tasks
    )
    diagonal = element("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="rule")
    picture = element(
        "svg",
        *_grid(),
        diagonal,
        *points,
        element("text", reference.name, x=_x(0.5), y=HEIGHT - 4, text_anchor="middle"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{column.name} against {reference.name}: {better} of {plural(len(tasks), 'task')} better",
    )
    caption = element(
        "figcaption",
        column.label(),
        f" against {reference.name}: better in {better} of {plural(len(tasks), 'task')}",
    )
    return element("figure", caption, picture)


def _mark(x: float, y: float, kind: int) -> Html:
    """A different shape a modality, so that colours are not needed to tell them apart."""
    shape = kind % MARKS
    if shape == 0:
        return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.4", class_=f"s{kind % 6}")
    if shape == 1:
        return element(
            "rect", x=f"{x - 3:.1f}", y=f"{y - 3:.1f}", width="6", height="6", class_=f"s{kind % 6}"
        )
    corners = f"{x:.1f},{y - 4:.1f} {x + 4:.1f},{y + 3:.1f} {x - 4:.1f},{y + 3:.1f}"
    return element("polygon", points=corners, class_=f"s{kind % 6}")


def _grid() -> list[Html]:
    shapes = []
    for at in TICKS:
        shapes.append(element("line", x1=_x(at), x2=_x(at), y1=_y(0), y2=_y(1)))
        shapes.append(element("line", x1=_x(0), x2=_x(1), y1=_y(at), y2=_y(at)))
        shapes.append(element("text", percent(at, 0), x=_x(at), y=_y(0) + 14, text_anchor="middle"))
        shapes.append(element("text", percent(at, 0), x=LEFT - 6, y=f"{_y(at) + 4:.1f}", text_anchor="end"))
    return shapes


def _x(value: float) -> float:
    return round(LEFT + value * SIDE, 1)


def _y(value: float) -> float:
    return round(TOP + (1 - value) * SIDE, 1)


def size(report: Report, series: list[Series]) -> Html | None:
    """Quality against bytes a vector, for models that were scored at several sizes."""
    figures = []
    for model, curves in sizes.curves(report).items():
        colour = {one.column.name: one.colour for one in series}
        figures.append(_curves(model, curves, colour))
    if not figures:
        return None
    return element(
        "section",
        element("h2", "Size and quality"),
        element(
            "p",
            "Mean of the main metric over the tasks that all sizes of a model have, in percent,"
            " against bytes a vector.",
            class_="hint",
        ),
        *figures,
        id="size",
    )


def _curves(model: str, curves: Sequence[Curve], colour: dict[str, str]) -> Html:
    points = [point for curve in curves for point in curve.points]
    least, most = (end(log2(point.num_bytes) for point in points) for end in (min, max))
    low, high = min(point.value for point in points), max(point.value for point in points)
    low, high = max(0.0, low - 0.02), min(1.0, high + 0.02)

    def place(point: Point) -> tuple[float, float]:
        across = (log2(point.num_bytes) - least) / (most - least or 1.0)
        return _x(0.04 + 0.92 * across), _y((point.value - low) / (high - low or 1.0))

    shapes = []
    for at in TICKS:
        value = low + at * (high - low)
        shapes.append(element("line", x1=_x(0), x2=_x(1), y1=_y(at), y2=_y(at)))
        shapes.append(element("text", percent(value), x=LEFT - 6, y=f"{_y(at) + 4:.1f}", text_anchor="end"))
    for num_bytes in sorted({point.num_bytes for point in points}):
        x = _x(0.04 + 0.92 * (log2(num_bytes) - least) / (most - least or 1.0))
        shapes.append(element("line", x1=x, x2=x, y1=_y(0), y2=_y(1)))
    for num_bytes in (min(point.num_bytes for point in points), max(point.num_bytes for point in points)):
        x = _x(0.04 + 0.92 * (log2(num_bytes) - least) / (most - least or 1.0))
        shapes.append(element("text", f"{num_bytes:,.0f} B", x=x, y=_y(0) + 14, text_anchor="middle"))
    for kind, curve in enumerate(curves):
        path = " ".join(f"{x},{y}" for x, y in map(place, curve.points))
        shapes.append(element("polyline", points=path, class_="curve"))
        for point in curve.points:
            title = f"{point.label}: {percent(point.value)} at {point.num_bytes:,.0f} bytes"
            shapes.append(element("g", element("title", title), _mark(*place(point), kind)))
    picture = element(
        "svg",
        *shapes,
        element("text", "bytes a vector, logarithmic", x=_x(0.5), y=HEIGHT - 4, text_anchor="middle"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"Quality of {model} against bytes a vector; the table has the numbers",
    )
    best = max(point.value for point in points)
    rows = []
    for kind, curve in enumerate(curves):
        for point in curve.points:
            kept = element("td", percent(point.value / best if best else None))
            name = element("th", element("span", _key(kind), point.label, class_="series"), scope="row")
            number = element("td", f"{point.num_bytes:,.0f}")
            rows.append(element("tr", name, number, element("td", percent(point.value)), kept))
    heads = [element("th", text, scope="col") for text in ("Vectors", "Bytes", "Mean", "Kept, %")]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows))
    caption = element("figcaption", f"{model}, {plural(curves[0].num_tasks, 'task')}")
    scroll = element(
        "div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Sizes of {model}"
    )
    return element("div", element("figure", caption, picture), scroll, class_="figures")
