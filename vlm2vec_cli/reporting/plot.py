"""The means as a bar chart for slides: a standalone SVG or PNG with plain fonts and fixed colours."""

import os

from vlm2vec_cli.errors import UnavailableError, UsageError
from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.layout import modality_label
from vlm2vec_cli.reporting.numbers import percent
from vlm2vec_cli.reporting.page.markup import Html, element
from vlm2vec_cli.reporting.page.series import Series, all_series
from vlm2vec_cli.reporting.results import Mean, Report

COLOURS = {
    "s0": "#2f67d8",
    "s1": "#c9691b",
    "s2": "#128a7c",
    "s3": "#a5449a",
    "s4": "#7a7d10",
    "s5": "#c23b4e",
    "r0": "#9aa4b1",
    "r1": "#c3ab86",
    "r2": "#8fb3a6",
    "r3": "#bf9bb5",
    "r4": "#b9b98a",
}
FONTS = "system-ui, Helvetica, Arial, sans-serif"
INK, RULE = "#191c20", "#dfe3e8"
TICKS = (0, 0.25, 0.5, 0.75, 1)
LEFT, PLOT, RIGHT, BAR, GAP, TOP = 190, 560, 70, 14, 12, 70


SUFFIXES = (".svg", ".png")
PIXELS_A_UNIT = 2


def check(path: str) -> None:
    """UsageError for a name that says neither SVG nor PNG."""
    if os.path.splitext(path.lower())[1] not in SUFFIXES:
        raise UsageError(f"--plot writes SVG or PNG, not {path}", hint="name it FILE.svg or FILE.png")


def picture(report: Report, path: str) -> bytes:
    """The chart in the form that the name asks for; a PNG has two pixels a unit."""
    svg = render(report)
    if path.lower().endswith(".svg"):
        return svg.encode()
    try:
        import pymupdf
    except ImportError as error:
        raise UnavailableError(
            "a PNG needs pymupdf", hint="pip install pymupdf, or name it FILE.svg"
        ) from error
    plain = svg.replace("<text ", '<text font-family="Helvetica" ')  # it knows one name, at the text itself
    with pymupdf.open(stream=plain.encode(), filetype="svg") as document:
        matrix = pymupdf.Matrix(PIXELS_A_UNIT, PIXELS_A_UNIT)
        png: bytes = document[0].get_pixmap(matrix=matrix, alpha=False).tobytes("png")
    return png


def render(report: Report) -> str:
    """An SVG document, 820 units wide; a bar a mean and column, intervals as whiskers."""
    series = all_series(report)
    shapes: list[Html] = [_text(report.title, 24, 34, size=20, weight=600)]
    x = LEFT
    for one in series:
        shapes.append(element("rect", x=x, y=TOP - 22, width=10, height=10, rx=2, fill=COLOURS[one.colour]))
        shapes.append(_text(one.name, x + 16, TOP - 13, size=12))
        x += 34 + 7 * len(one.name)
    y = TOP
    for mean in tables.shown_means(report):
        shapes += _mean(report, series, mean, y)
        y += BAR * len(series) + GAP
    grid = [element("line", x1=_x(at), x2=_x(at), y1=TOP - 4, y2=y - GAP + 4, stroke=RULE) for at in TICKS]
    ticks = [_text(percent(at, 0), _x(at), y + 8, size=11, anchor="middle") for at in TICKS]
    width, height = max(LEFT + PLOT + RIGHT, x), y + 24
    paper = element("rect", width=width, height=height, fill="#fff")
    picture = element(
        "svg",
        element("title", report.title),
        paper,
        *grid,
        *shapes,
        *ticks,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        font_family=FONTS,
    )
    return f"{picture}\n"


def _mean(report: Report, series: list[Series], mean: Mean, y: int) -> list[Html]:
    group = mean.inner
    label = f"{modality_label(mean.modality)} {mean.label}" if group and mean.modality else mean.label
    middle = y + BAR * len(series) // 2 + 4
    shapes = [_text(label, LEFT - 12, middle, size=12, anchor="end", weight=400 if group else 600)]
    for index, one in enumerate(series):
        value = report.mean(one.column, mean)
        if value.value is None:
            continue
        top, centre = y + BAR * index, y + BAR * index + BAR // 2 - 1
        width = f"{value.value * PLOT:.1f}"
        shapes.append(element("rect", x=LEFT, y=top, width=width, height=BAR - 2, fill=COLOURS[one.colour]))
        end = value.value
        if value.interval is not None:
            low, high = (min(max(side, 0.0), 1.0) for side in value.interval)
            shapes.append(element("line", x1=_x(low), x2=_x(high), y1=centre, y2=centre, stroke=INK))
            end = high
        shapes.append(_text(percent(value.value), float(_x(end)) + 6, centre + 4, size=11))
    return shapes


def _x(value: float) -> str:
    return f"{LEFT + value * PLOT:.1f}"


def _text(
    text: str, x: float | str, y: float, *, size: int, anchor: str | None = None, weight: int | None = None
) -> Html:
    return element(
        "text", text, x=str(x), y=str(y), font_size=size, text_anchor=anchor, font_weight=weight, fill=INK
    )
