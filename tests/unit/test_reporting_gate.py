from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports import report_of, score_row
from vlm2vec_cli.errors import DataError, GateError, MissingError, UsageError
from vlm2vec_cli.reporting import compose, run, tolerances
from vlm2vec_cli.reporting.gate import Limit, amount_of, parse_max_drop, parse_min
from vlm2vec_cli.reporting.rendering import render
from vlm2vec_cli.reporting.results import Report

NOW = [
    score_row("a", 0.5, modality="image", metrics={"hit@1": 0.5, "hit@5": 0.8}),
    score_row("b", 0.3, modality="image"),
    score_row("c", 0.9, modality="video"),
]


def gated(*limits: str, baseline: list[dict[str, object]] | str | None = None, **more: object) -> Report:
    """The report of NOW under limits such as "min a=0.4" and "drop 2%"."""
    parsed = [
        parse_min(text[4:]) if text.startswith("min ") else parse_max_drop(text.removeprefix("drop "))
        for text in limits
    ]
    baselines = [] if baseline is None else [baseline]
    return report_of(NOW, *baselines, limits=parsed, gate=True, **more)


def outcome(report: Report) -> dict[str, bool]:
    assert report.checks is not None
    return {check.name: check.passed for check in report.checks}


@pytest.mark.parametrize(
    ("limit", "passes"),
    [
        ("min a=0.5", True),
        ("min a=50%", True),
        ("min a=0.5001", False),
        ("min a:hit@5=0.8", True),
        ("min a:hit@5=0.81", False),
        ("min image=0.4", True),
        ("min image=0.41", False),
        ("min IMAGE=0.4", True),
        ("min overall=0.5666", True),
        ("min overall=0.5667", False),
    ],
)
def test_a_least_value_of_datasets_metrics_and_means(limit: str, passes: bool) -> None:
    assert list(outcome(gated(limit)).values()) == [passes]


def test_a_sum_that_is_a_rounding_error_too_low_passes() -> None:
    rows = [score_row(name, 0.1) for name in "abc"]
    report = report_of(rows, limits=[parse_min("overall=0.1")], gate=True)
    assert outcome(report) == {"overall": True}


@pytest.mark.parametrize(
    ("limit", "before", "failed"),
    [
        ("drop 0.1", {"a": 0.6, "b": 0.4, "c": 0.9}, []),
        ("drop 0.0999", {"a": 0.6, "b": 0.4, "c": 0.9}, ["a", "b"]),
        ("drop 20%", {"a": 0.6, "b": 0.4, "c": 0.9}, ["b"]),
        ("drop b=30%", {"a": 0.9, "b": 0.4, "c": 0.9}, []),
        ("drop overall=0.01", {"a": 0.6, "b": 0.2, "c": 0.9}, []),
        ("drop image=0.01", {"a": 0.6, "b": 0.3, "c": 0.1}, ["image"]),
        ("drop a:hit@5=0.01", {"a": 0.5}, []),
        ("drop 0", {"a": 0.5, "b": 0.1, "c": 0.2}, []),
    ],
)
def test_a_largest_drop_absolute_relative_and_by_name(
    limit: str, before: dict[str, float], failed: list[str]
) -> None:
    baseline = [
        score_row(name, value, "old", metrics={"hit@1": value, "hit@5": 0.8})
        for name, value in before.items()
    ]
    report = gated(limit, baseline=baseline)
    assert [check.name for check in report.failures] == failed


def test_a_named_drop_replaces_the_one_for_every_dataset() -> None:
    baseline = [score_row("a", 0.6, "old"), score_row("b", 0.4, "old")]
    assert outcome(gated("drop 0.05", "drop a=0.2", baseline=baseline)) == {"a": True, "b": False}


def test_failed_checks_come_first_and_every_model_is_checked() -> None:
    rows = [score_row("a", 0.9, "good"), score_row("a", 0.1, "bad"), score_row("a", 0.5, "middle")]
    report = report_of(rows, limits=[parse_min("a=0.4")], gate=True)
    assert [(check.column, check.passed) for check in report.checks or ()] == [
        ("bad", False),
        ("good", True),
        ("middle", True),
    ]


def test_a_dataset_without_a_score_fails_unless_allowed() -> None:
    baseline = [score_row("a", 0.5, "old"), score_row("gone", 0.5, "old")]
    assert outcome(gated("drop 0.1", baseline=baseline)) == {"a": True, "gone": False}
    assert outcome(gated("drop 0.1", baseline=baseline, allow_missing=True)) == {"a": True}
    assert outcome(gated("min gone=0.1", baseline=baseline)) == {"gone": False}


@pytest.mark.parametrize("limit", ["drop overall=0.1", "min overall=0.1"])
def test_a_mean_over_fewer_datasets_than_the_baseline_has_fails_unless_allowed(limit: str) -> None:
    baseline = [score_row(name, 0.5, "old") for name in ("a", "gone", "lost")]
    (check,) = gated(limit, baseline=baseline).checks or ()
    assert not check.passed
    assert check.fact.endswith(", but over 1 of the baseline's 3 datasets: no gone, lost")
    assert outcome(gated(limit, baseline=baseline, allow_missing=True)) == {"overall": True}
    assert outcome(gated("min video=0.1", baseline=baseline)) == {"video": True}


def test_means_over_the_published_tasks_that_were_scored_pass() -> None:
    limits = [parse_max_drop("overall=1%"), parse_min("overall=0.1")]
    report = report_of([score_row("GQA", 0.9)], "published:LamRA-Ret", limits=limits, gate=True)
    assert [check.passed for check in report.checks or ()] == [True, True]


def test_published_tasks_that_were_not_scored_do_not_fail() -> None:
    rows = [score_row("GQA", 0.9)]
    report = report_of(rows, "published:VLM2Vec-V2.0-Qwen2VL-2B", limits=[parse_max_drop("1%")], gate=True)
    assert outcome(report) == {"GQA": True}


def test_a_least_value_of_a_task_of_the_benchmark_that_is_missing_fails() -> None:
    report = report_of(
        [score_row("GQA", 0.9)], limits=[parse_min("OK-VQA=0.1"), parse_min("image=0.5")], gate=True
    )
    assert [check.fact for check in report.checks or ()] == [
        "OK-VQA has no score",
        "image 90.00 is at least 50.00, over 1 of 36 tasks",
    ]


@pytest.mark.parametrize(
    ("limit", "fact", "hint"),
    [
        ("min overal=0.5", "--min: no dataset or mean is named 'overal'", "did you mean 'overall'?"),
        ("min a:hit@6=0.5", "--min: a has no metric 'hit@6'", "did you mean 'hit@5' or 'hit@1'?"),
        ("drop zzz=0.5", "--max-drop: no dataset or mean is named 'zzz'", "means are image, video, overall"),
    ],
)
def test_unknown_names_answer_with_the_nearest(limit: str, fact: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        gated(limit, baseline=[score_row("a", 0.5, "old")])
    assert (str(caught.value), caught.value.hint) == (fact, hint)


@pytest.mark.parametrize("value", ["55", "-0.1", "x", "101%", "", "nan"])
def test_values_outside_the_range_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="expected a fraction in"):
        amount_of(value, "--min")


def test_a_drop_needs_a_baseline_and_a_threshold_needs_the_gate() -> None:
    with pytest.raises(UsageError, match="--max-drop compares with a baseline"):
        gated("drop 1%")
    with pytest.raises(UsageError, match="nothing to check"):
        compose.limits([], [], None, wanted=True)
    with pytest.raises(UsageError, match="only checked with --gate"):
        compose.limits(["a=1"], [], None, wanted=False)
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        compose.limits(["0.5"], [], None, wanted=True)


def test_a_tolerance_file_holds_the_same_limits_and_options_win(tmp_path: Path) -> None:
    file = tmp_path / "tolerances.toml"
    file.write_text('[min]\noverall = 0.55\n"a:hit@5" = "80%"\n[max-drop]\ndefault = "2%"\na = 0.01\n')
    place = str(file)
    assert tolerances.read(place) == [
        Limit("min", "overall", 0.55, False, place),
        Limit("min", "a:hit@5", 0.8, False, place),
        Limit("max_drop", None, 0.02, True, place),
        Limit("max_drop", "a", 0.01, False, place),
    ]
    merged = compose.limits(["overall=0.6"], ["3%"], place, wanted=True)
    assert [(limit.name, limit.amount) for limit in merged] == [
        ("a:hit@5", 0.8),
        ("a", 0.01),
        ("overall", 0.6),
        (None, 0.03),
    ]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("[mins]\na = 1\n", "unknown entry 'mins'"),
        ("min = 3\n", "unknown entry 'min'"),
        ("[min]\na = 7\n", "[min] a: expected a fraction in 0..1 or a percentage, got '7'"),
        ("[min\n", "not TOML: "),
    ],
)
def test_a_wrong_tolerance_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, fact: str) -> None:
    file = tmp_path / "t.toml"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        tolerances.read(str(file))
    assert str(caught.value).startswith(f"{file}: {fact}")
    file.write_bytes(b"[min]\n\xff = 1\n")
    with pytest.raises(DataError) as caught:
        tolerances.read(str(file))
    assert str(caught.value) == f"{file}: not UTF-8: invalid start byte at byte 6"
    with pytest.raises(MissingError, match="no such file"):
        tolerances.read(str(tmp_path / "none.toml"))


def test_the_verdict_is_raised_with_the_first_failures_and_only_when_there_are_some() -> None:
    run.raise_verdict(gated("min a=0.1"))
    with pytest.raises(GateError) as caught:
        run.raise_verdict(gated("min a=0.9", "min b=0.9", "min c=0.95", "min overall=0.99", "min video=0"))
    assert str(caught.value) == (
        "gate: 4 of 5 checks failed: a 50.00 is below 90.00; b 30.00 is below 90.00;"
        " c 90.00 is below 95.00; and 1 more"
    )


def test_every_format_lists_the_failed_checks_before_the_tables() -> None:
    report = gated("min a=0.9", "min b=0.1")
    for format in ("text", "md", "html"):
        text = render(report, format)
        assert (
            -1
            < text.index("a 50.00 is below 90.00")
            < text.index("Overall", text.index("<main") if format == "html" else 0)
        )
    suite = ElementTree.fromstring(render(report, "junit"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite[0].find("failure")
    assert failure is not None
    assert (suite[0].get("name"), failure.get("message")) == ("a at least 90.00", "a 50.00 is below 90.00")
