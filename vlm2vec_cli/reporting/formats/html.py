"""One HTML file without any outside resource: style, script and pictures are inside, nothing else may load.

The page works without its script, which only sorts and filters. The content security policy names the hashes
of the one style and the one script, so that no text of a row could ever act as either.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from vlm2vec_cli.reporting.examples import TaskExamples
from vlm2vec_cli.reporting.page import bars, charts, gallery, grids, summary
from vlm2vec_cli.reporting.page.markup import Html, element, join
from vlm2vec_cli.reporting.page.series import all_series
from vlm2vec_cli.reporting.results import Report
from vlm2vec_cli.reporting.thumbnails import Thumbnails

UNLINKED = ("gate", "notes")  # directly below the links


def render(
    report: Report, *, examples: Sequence[TaskExamples] = (), pictures: Thumbnails | None = None
) -> str:
    """The page; `examples` make the gallery, with thumbnails from `pictures`."""
    series = all_series(report)
    shown = gallery.section(examples, series, pictures) if examples and pictures is not None else None
    sections = {
        "gate": summary.gate(report),
        "notes": summary.notes(report),
        "means": grids.means(report, series),
        "size": charts.size(report, series),
        "comparison": charts.scatter(report, series),
        "tasks": bars.section(report, series),
        "numbers": grids.tasks(report, series),
        "examples": shown,
        "metrics": grids.metrics(report, series),
        "provenance": summary.provenance(report, series),
    }
    present = {name: section for name, section in sections.items() if section is not None}
    body = element(
        "body",
        element("a", "Skip to the numbers", href="#means", class_="skip"),
        gallery.sprites(pictures) if shown is not None and pictures is not None else None,
        summary.header(report, series),
        _navigation(list(present)),
        element("main", join(present.values())),
        element("footer", f"vlm2vec {report.tool_version}"),
    )
    style, script = _part("report.css"), _part("report.js")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"vlm2vec {report.tool_version}"),
        element("title", report.title),
        element("style", Html(style)),
    )
    page = element("html", head, "\n", body, element("script", Html(script)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _navigation(names: list[str]) -> Html:
    links = [element("a", name.capitalize(), href=f"#{name}") for name in names if name not in UNLINKED]
    return element("nav", *links, aria_label="Sections")


def _part(name: str) -> str:
    return (files("vlm2vec_cli.reporting.page") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
