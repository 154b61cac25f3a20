import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from reports import report_of, score_row
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.reporting import plot
from vlm2vec_cli.reporting.formats import latex, md
from vlm2vec_cli.reporting.numbers import apart, printable, signed
from vlm2vec_cli.reporting.options import FORMATS as NAMED
from vlm2vec_cli.reporting.rendering import FORMATS, render
from vlm2vec_cli.reporting.results import Paired, Report

VALUES = {
    "old": {"cats": 0.12345, "dogs": 0.2, "pages": 0.0},
    "new": {"cats": 0.5, "dogs": 0.98765, "pages": 1.0},
}
HOSTILE = "<script>alert(1)</script>|`a`_b_*c*&\"'\\ \x1b[31m{x}$5%#^~@all ://e"


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


def test_the_options_and_the_renderers_have_the_same_formats() -> None:
    assert set(NAMED) == set(FORMATS)
    with pytest.raises(UsageError, match="report does not write parquet"):
        render(small(), "parquet")


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_the_same_report_gives_the_same_text(format: str) -> None:
    assert render(small(), format) == render(small(), format)


def test_json_holds_the_numbers_as_they_came() -> None:
    found = json.loads(render(small(), "json"))
    for task in found["tasks"]:
        for model, values in VALUES.items():
            cell = task["values"][model]
            assert (cell["value"], cell["metrics"]["mrr@10"]) == (
                values[task["name"]],
                values[task["name"]] / 2,
            )
            assert cell["ci95"] == [max(0, cell["value"] - 0.05), min(1, cell["value"] + 0.04)]
    (overall,) = (mean for mean in found["means"] if mean["key"] == "overall")
    value, below, above = 0.32345 / 3, (2 * 0.05**2) ** 0.5 / 3, (3 * 0.04**2) ** 0.5 / 3
    assert overall["values"]["old"] == {
        "value": pytest.approx(value),
        "ci95": pytest.approx([value - below, value + above]),
        "found": 3,
    }
    assert overall["differences"][0]["value"] == pytest.approx((2.48765 - 0.32345) / 3)
    assert (found["schema"], found["command"], found["gate"]) == ("vlm2vec/report@1", "vlm2vec report", None)


def test_csv_holds_the_numbers_as_they_came() -> None:
    lines = list(csv.DictReader(io.StringIO(render(small(), "csv"))))
    found = {
        (line["name"], line["model"], line["metric"]): float(line["value"])
        for line in lines
        if line["level"] == "task"
    }
    expected = {
        (name, model, metric): value / part
        for model, values in VALUES.items()
        for name, value in values.items()
        for metric, part in (("hit@1", 1), ("mrr@10", 2))
    }
    assert found == expected
    (cats,) = (
        line for line in lines if (line["name"], line["model"], line["main"]) == ("cats", "new", "yes")
    )
    assert float(cats["difference from old"]) == 0.5 - 0.12345
    (image,) = (line for line in lines if (line["name"], line["model"]) == ("image", "new"))
    assert (image["level"], image["tasks_found"], image["tasks_expected"]) == ("modality", "2", "2")
    assert float(image["value"]) == pytest.approx((0.5 + 0.98765) / 2)


def test_csv_holds_the_p_values_of_tests() -> None:
    report = small()
    (comparison,) = report.comparisons
    test = Paired(0.1, (0.0, 0.2), 0.01, 0.03, 10, 0.1)
    tests = {(comparison, "cats"): test, (comparison, report.means[0].tested_as): test}
    lines = list(csv.DictReader(io.StringIO(render(replace(report, paired=tests), "csv"))))
    found = [(line["name"], line["model"]) for line in lines if line["p against old"]]
    assert found == [("cats", "new"), (report.means[0].key, "new")]
    assert {line["p against old"] for line in lines} == {"", "0.03"}


def test_text_is_aligned_rounded_and_within_its_width() -> None:
    text = render(small(), "text")
    assert text.isascii()
    (cats,) = (line for line in text.splitlines() if line.startswith("cats"))
    assert cats.split() == ["cats", "hit@1", "100", "12.3", "+-5.0", "50.0", "+-5.0", "+37.7"]
    (image,) = (line for line in text.splitlines() if line.startswith("Image"))
    assert image.split() == ["Image", "2/2", "16.2", "74.4", "+58.2"]
    for width in (40, 60, 80, 200):
        assert max(map(len, render(small(), "text", width=width).splitlines())) <= width


def test_narrow_text_keeps_every_column_in_some_part() -> None:
    rows = [score_row("a-dataset-with-a-long-name-" * 3, 0.1 * at, f"model{at}") for at in range(9)]
    text = render(report_of(rows), "text", width=40)
    for at in range(9):
        assert f"{10 * at:.1f}" in text
    assert max(map(len, text.splitlines())) <= 40


def test_markdown_tables_hold_the_rounded_numbers_and_mark_the_best() -> None:
    text = render(small(), "md")
    assert "| dogs | hit@1 | 100 | 20.0 ±\u20095.0 | 98.8 ±\u20095.0 | +78.8 |" in text
    assert "| **Image** | 2/2 | 16.2 | **74.4** | +58.2 |" in text


def test_markdown_folds_many_tasks_away() -> None:
    assert "<details>" in render(report_of([score_row(f"d{at}", 0.5) for at in range(30)]), "md")
    assert "<details>" not in render(small(), "md")


def test_latex_prints_a_model_a_line_and_the_best_in_bold() -> None:
    text = render(small(), "latex")
    assert r"old & 16.2 & 0.0 & 10.8 \\" in text
    assert r"new & \textbf{74.4} & \textbf{100.0} & \textbf{82.9} \\" in text
    assert r"cats & hit@1 & 12.3 & \textbf{50.0} \\" in text
    assert text.count("{") == text.count("}")


def test_junit_without_a_gate_is_a_passed_case_a_score() -> None:
    root = ElementTree.fromstring(render(small(), "junit"))
    assert (root.get("failures"), [suite.get("name") for suite in root]) == ("0", ["old", "new"])
    facts = {case.get("name"): case.findtext("system-out") for case in root[1]}
    assert facts["dogs hit@1"] == "98.7650 %"
    assert facts["mean overall"] == "82.9217 % over 3 of 3 tasks"


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


@pytest.mark.parametrize("format", ["html", "md", "latex", "text", "junit", "csv", "json"])
def test_hostile_names_are_only_ever_text(format: str) -> None:
    rows = [score_row(HOSTILE, 0.5, HOSTILE, group=HOSTILE, modality=HOSTILE, fingerprint=HOSTILE)]
    rows += [score_row("plain", 0.4, HOSTILE, main_metric=HOSTILE)]
    text = render(report_of(rows, title=HOSTILE, command=HOSTILE, limits=[]), format)
    assert "\x1b" not in text
    if format in ("html", "md"):
        assert "<script>alert" not in text
    if format == "html":
        page = Page(text)
        assert sum(tag == "script" for tag, _ in page.elements) == 1
        assert not any(
            name.startswith("on") or name == "style" for _, attrs in page.elements for name in attrs
        )
    if format == "junit":
        names = [case.get("name") or "" for case in ElementTree.fromstring(text)[0]]
        assert names[0] == f"{printable(HOSTILE)} hit@1"
    if format == "json":
        assert json.loads(text)["tasks"][0]["name"] == HOSTILE


def test_markdown_and_latex_escape_what_would_be_syntax() -> None:
    assert md.escape("a|b_c _d_ *e* `f` <g> @team hit@1 [h](i)") == (
        r"a\|b_c \_d\_ \*e\* \`f\` &lt;g&gt; &#64;team hit@1 \[h\](i)"
    )
    assert latex.escape(r"a_b & 5% {c}\d") == r"a\_b \& 5\% \{c\}\textbackslash{}d"


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


def test_the_plot_is_a_picture_of_all_means() -> None:
    root = ElementTree.fromstring(plot.render(small()))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("Image", "Visual documents", "Overall", "old", "new", "16.2", "74.4", "100.0"):
        assert text in texts


def test_a_plot_is_svg_or_png_by_its_name() -> None:
    assert plot.picture(small(), "a.SVG").startswith(b"<svg")
    picture = Image.open(io.BytesIO(plot.picture(small(), "a.png")))
    root = ElementTree.fromstring(plot.render(small()))
    assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 10  # bars, letters, paper
    with pytest.raises(UsageError, match=r"^--plot writes SVG or PNG, not a\.jpg"):
        plot.check("a.jpg")


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


def test_the_headline_counts_what_the_models_have_not_what_baselines_have() -> None:
    rows = [score_row("GQA", 0.5), score_row("mine", 0.5)]
    baseline = [score_row(name, 0.5, "old") for name in ("GQA", "OK-VQA", "K700")]
    text = render(report_of(rows, baseline), "text")
    assert text.startswith("MMEB-V2 scores: 1 of 78 tasks, 1 other dataset, 1 model, 1 baseline\n")
    text = render(
        report_of([*rows, score_row("GQA", 0.1, "n"), score_row("K700", 0.1, "n")], title="T"), "text"
    )
    two = [score_row(name, 0.5, model) for name, model in (("a", "m"), ("b", "n"))]
    assert render(report_of(two, title="T"), "text").startswith("T: 1 dataset, 2 models\n")
    assert text.startswith("T: 1 to 2 of 78 tasks of MMEB-V2, 0 to 1 other dataset, 2 models\n")


def test_numbers_for_people() -> None:
    assert [signed(value) for value in (0.0123, -0.0123, 0.0001, -0.0001, None)] == [
        "+1.2",
        "-1.2",
        "0.0",
        "0.0",
        "-",
    ]
    assert apart(0.5, 0.5) == ("50.000000", "50.000000")
    assert printable("a\x1b[0m\nb\u202ec") == "a\ufffd[0m b\ufffdc"


def test_style_and_script_are_files_of_the_package() -> None:
    folder = Path(__file__).parents[2] / "vlm2vec_cli" / "reporting" / "page"
    assert (folder / "report.css").is_file()
    assert (folder / "report.js").is_file()
