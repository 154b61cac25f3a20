"""The numbers and names of a report in every format, as tables, text and plots."""

import csv
import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from PIL import Image

from report_page import VALUES, Page, small
from reports import report_of, score_row
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.reporting import plot
from vlm2vec_cli.reporting.formats import latex, md
from vlm2vec_cli.reporting.numbers import apart, printable, signed
from vlm2vec_cli.reporting.options import FORMATS as NAMED
from vlm2vec_cli.reporting.rendering import FORMATS, render
from vlm2vec_cli.reporting.results import Paired

HOSTILE = "<script>alert(1)</script>|`a`_b_*c*&\"'\\ \x1b[31m{x}$5%#^~@all ://e"


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
