"""The HTML page of a report: its numbers, bars and plots, what it may load, and how it reads aloud."""

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path

from report_page import VALUES, Page, small
from reports import report_of, score_row
from vlm2vec_cli.reporting.rendering import render


def test_the_tables_of_the_page_hold_the_numbers() -> None:
    page = Page(render(small(), "html"))
    rows = [[cell.strip() for cell in row] for row in page.rows]
    assert ["cats", "12.3", "50.0", "+37.7", "hit@1", "100", "image / retrieval"] in rows
    assert ["Image", "2/2", "16.2", "74.4", "+58.2"] in rows
    assert ["pages", "100.0", "50.0"] in rows
    values = [attrs["data-value"] for tag, attrs in page.elements if tag == "td" and "data-value" in attrs]
    assert {repr(value) for model in VALUES.values() for value in model.values()} <= set(values)


def test_the_bars_of_the_page_are_as_long_as_the_values_with_whiskers_at_the_intervals() -> None:
    page = Page(render(small(), "html"))
    widths = [attrs["width"] for tag, attrs in page.elements if tag == "rect" and attrs.get("height") == "9"]
    assert widths == ["12.35%", "50.00%", "20.00%", "98.77%", "0.00%", "100.00%"]
    ends = [
        (attrs["x1"], attrs["x2"])
        for tag, attrs in page.elements
        if tag == "line" and attrs["y1"] == attrs["y2"]
    ]
    assert ends[1] == ("45.00%", "54.00%")


def test_datasets_of_no_modality_stand_under_a_heading_of_their_own() -> None:
    page = render(report_of([score_row("GQA", 0.5), score_row("mine", 0.25)]), "html")
    bars = page[page.index('id="tasks"') :]
    assert 0 < bars.index("<h3>Image</h3>") < bars.index("<h3>Other datasets</h3>") < bars.index("mine")
    alone = render(report_of([score_row("mine", 0.25)]), "html")
    assert "<h3>Other datasets</h3>" not in alone


def test_the_page_needs_nothing_from_outside() -> None:
    text = render(small(), "html")
    for tag, attrs in Page(text).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "audio", "video")
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttp|importScripts|import\(", text)


def test_the_page_s_policy_allows_just_its_own_style_and_script() -> None:
    text = render(small(), "html")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#x27;sha256-{digest}&#x27;" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src &#x27;none&#x27;")


def test_the_page_has_headings_in_order_and_labels_for_what_has_no_text() -> None:
    levels = [int(tag[1]) for tag, _ in Page(render(small(), "html")).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for tag, attrs in Page(render(small(), "html")).elements:
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs.get("aria-label")
        if "tabindex" in attrs:
            assert attrs.get("aria-label")


def test_many_models_make_a_page_of_reasonable_size() -> None:
    rows = [
        score_row(
            f"dataset-{at}",
            at / 80,
            f"model-{model}",
            group=f"g{at % 9}",
            modality="image",
            ci95={"hit@1": [0, 1]},
        )
        for model in range(8)
        for at in range(78)
    ]
    assert len(render(report_of(rows), "html")) < 1_000_000


def test_the_page_draws_models_against_each_other_and_sizes_against_quality() -> None:
    names = [f"task {at}" for at in range(8)]
    before, after = (
        [score_row(name, 0.1 * at + more, model) for at, name in enumerate(names)]
        for model, more in (("old", 0.0), ("new", 0.05))
    )
    page = render(report_of([*before, *after]), "html")
    assert 'id="comparison"' in page
    assert page.count("<title>task") == len(names)
    assert "better in 8 of 8 tasks" in page
    assert 'id="size"' not in page
    few = render(report_of([*before[:3], *after[:3]]), "html")
    assert 'id="comparison"' not in few
    sizes = [score_row(name, 0.5, dim=dim) for name in names for dim in (64, 128)]
    page = render(report_of(sizes), "html")
    assert 'id="size"' in page
    assert "128: 50.0 at 512 bytes" in page


def test_style_and_script_are_files_of_the_package() -> None:
    folder = Path(__file__).parents[2] / "vlm2vec_cli" / "reporting" / "page"
    assert (folder / "report.css").is_file()
    assert (folder / "report.js").is_file()
