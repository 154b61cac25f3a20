"""A report in the format asked for."""

from collections.abc import Callable, Sequence

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.reporting.examples import TaskExamples
from vlm2vec_cli.reporting.formats import csv, html, json, junit, latex, md, text
from vlm2vec_cli.reporting.results import Report
from vlm2vec_cli.reporting.thumbnails import Thumbnails

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": text.render,
    "md": md.render,
    "html": html.render,
    "csv": csv.render,
    "latex": latex.render,
    "json": json.render,
    "junit": junit.render,
}


def render(
    report: Report,
    format: str,
    *,
    width: int = 100,
    examples: Sequence[TaskExamples] = (),
    pictures: Thumbnails | None = None,
) -> str:
    """The finished text. `width` is for text, `examples` and `pictures` are for html.

    Raises UsageError for formats that other commands write.
    """
    if format == "text":
        return text.render(report, width=width)
    if format == "html":
        return html.render(report, examples=examples, pictures=pictures)
    if format not in FORMATS:
        raise UsageError(f"report does not write {format}", hint=f"formats are {', '.join(FORMATS)}")
    return FORMATS[format](report)
