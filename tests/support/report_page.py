"""A small report with two models, and its page as elements and cells."""

from html.parser import HTMLParser

from reports import report_of, score_row
from vlm2vec_cli.reporting.results import Report

VALUES = {
    "old": {"cats": 0.12345, "dogs": 0.2, "pages": 0.0},
    "new": {"cats": 0.5, "dogs": 0.98765, "pages": 1.0},
}


def small() -> Report:
    rows = [
        score_row(
            name,
            value,
            model,
            modality="visdoc" if name == "pages" else "image",
            group="retrieval",
            num_queries=100,
            metrics={"hit@1": value, "mrr@10": value / 2},
            ci95={"hit@1": [max(0, value - 0.05), min(1, value + 0.04)]},
        )
        for model, values in VALUES.items()
        for name, value in values.items()
    ]
    return report_of(rows, command="vlm2vec report")


class Page(HTMLParser):
    """Elements and texts of a page; fails on an end that does not fit."""

    VOID = ("meta", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[dict[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and ("td" in self.open or "th" in self.open) and "small" not in self.open:
            self.rows[-1][-1] += data
