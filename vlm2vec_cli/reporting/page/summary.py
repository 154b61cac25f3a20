"""The top of the page: title, main numbers, verdict of the gate, notes; and its foot: provenance."""

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import percent, plural
from vlm2vec_cli.reporting.page.markup import Html, element
from vlm2vec_cli.reporting.page.series import Series, legend
from vlm2vec_cli.reporting.results import Mean, Report

MOST_CARDS = 8


def header(report: Report, series: list[Series]) -> Html:
    """Title, extent and a card for every overall and modality mean."""
    means = [mean for mean in tables.shown_means(report) if not mean.inner]
    means = sorted(means, key=lambda mean: mean.key != "overall")[:MOST_CARDS]
    if not any(mean.level == "modality" for mean in means) or len(means) == 2:
        means = means[:1]
    cards = [_card(report, series, mean) for mean in means]
    return element(
        "header",
        element("h1", report.title),
        element("p", f"{tables.headline(report)}. Main metrics in percent.", class_="lead"),
        legend(series)
        if len(series) > 1
        else element("p", element("code", series[0].column.name), class_="lead"),
        element("div", *cards, class_="cards"),
    )


def _card(report: Report, series: list[Series], mean: Mean) -> Html:
    comparison = report.comparisons[0] if len(report.comparisons) == 1 else None
    lead = comparison.column if comparison is not None else 0 if len(series) == 1 else None
    values = [report.mean(one.column, mean) for one in series]
    big = None
    if lead is not None:
        difference = None
        if comparison is not None and report.difference(comparison, mean.tasks) is not None:
            text = tables.difference_cell(report, comparison, mean.tested_as, mean.tasks, mark="")
            sign = "up" if text.startswith("+") else "down" if text.startswith("-") else "even"
            difference = element("span", text, class_=f"chip {sign}", title="difference in points")
        big = element("p", element("b", percent(values[lead].value)), difference, class_="big")
    lines = [
        _line(one, percent(value.value), value.value or 0.0)
        for one, value in zip(series, values, strict=True)
        if len(series) > 1
    ]
    count = element("small", tables.extent(report, mean))
    return element(
        "article",
        element("h2", mean.label, count),
        big,
        element("dl", *lines) if lines else None,
        class_="card",
    )


def _line(series: Series, text: str, value: float) -> Html:
    width = f"{min(max(value, 0.0), 1.0) * 100:.2f}%"
    bar = element(
        "svg",
        element("rect", width=width, height="4", rx="2", class_=series.colour),
        class_="meter",
        aria_hidden="true",
    )
    return element("div", element("dt", series.label()), element("dd", text), bar)


def gate(report: Report) -> Html | None:
    """The verdict, what failed, and folded what passed."""
    if report.checks is None:
        return None
    failed = bool(report.failures)
    verdict = element("p", "Gate failed" if failed else "Gate passed", class_="verdict")
    passed = [check for check in report.checks if check.passed]
    many = len(report.models) > 1
    sentences = [
        element("li", _typeset(f"{one.fact} ({one.column})" if many else one.fact)) for one in passed
    ]
    return element(
        "section",
        element("h2", "Gate", class_="spoken"),
        verdict,
        element("p", f"{tables.gate_line(report)}."),
        element("ul", *(element("li", _typeset(line)) for line in tables.check_lines(report)))
        if failed
        else None,
        element(
            "details", element("summary", f"{plural(len(passed), 'check')} passed"), element("ul", *sentences)
        )
        if passed
        else None,
        class_="gate failed" if failed else "gate",
        id="gate",
    )


def _typeset(fact: str) -> str:
    return fact.replace(" -> ", " \u2192 ").replace(", -", ", \u2212")


def notes(report: Report) -> Html | None:
    """What to know before comparing."""
    about = [f"{column.name}: {note}" for column in report.columns for note in column.notes]
    lines = [*report.notes, *tables.detectable_lines(report)]
    if any(test.significant for test in report.paired.values()):
        lines.append(tables.MARKED)
    if not lines and not about:
        return None
    own = element("ul", *(element("li", line) for line in lines)) if lines else None
    others = element("ul", *(element("li", line) for line in about)) if about else None
    if len(about) > 2:
        others = element("details", element("summary", f"{len(about)} notes on the baselines"), others)
    return element("section", element("h2", "Notes"), own, others, class_="notes", id="notes")


def provenance(report: Report, series: list[Series]) -> Html:
    """Model, fingerprint, digests, versions, counts and sources of every column; the command."""
    blocks = []
    for one in series:
        column = one.column
        facts = [
            ("Model", column.model),
            ("Role", "baseline" if column.baseline else "model"),
            ("Fingerprint", ", ".join(column.fingerprints)),
            ("Vectors", f"{column.stored.dim} x {column.stored.precision}" if column.stored else ""),
            ("Texts", column.digest("text_digest")),
            ("Data", column.digest("data_digest")),
            ("Scored by", ", ".join(f"vlm2vec {version}" for version in column.tool_versions)),
            ("Datasets", str(len(column.cells))),
            ("Queries", f"{column.num_queries:,}" if column.num_queries is not None else ""),
            ("Read from", ", ".join(column.sources)),
        ]
        pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts if value]
        blocks.append(element("article", element("h3", one.label()), element("dl", *pairs), class_="source"))
    command = element("pre", element("code", report.command)) if report.command else None
    return element(
        "section",
        element("h2", "Provenance"),
        element("div", *blocks, class_="sources"),
        element("p", "Made by", class_="hint") if command else None,
        command,
        id="provenance",
    )
