import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reports import query_rows, report_of, score_row, write_per_query
from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.reporting import gate, paired
from vlm2vec_cli.reporting.gate import parse_max_drop
from vlm2vec_cli.reporting.per_query import PerQuery
from vlm2vec_cli.reporting.rendering import render
from vlm2vec_cli.reporting.results import Check, Report


def compare(after: list[float], before: list[float], resamples: int = 20_000) -> paired.Paired:
    sides = [{str(at): value for at, value in enumerate(values)} for values in (after, before)]
    return paired.test([paired.differences("d", *sides, resamples=resamples, seed=1)])


@pytest.mark.parametrize("few", [paired.FEW_VALUES, 0])
def test_p_value_and_interval_are_those_of_all_draws_written_out(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "FEW_VALUES", few)
    after, before = [1.0, 1.0, 0.5, 1.0, 0.0], [0.0, 1.0, 0.0, 0.25, 0.0]
    values = np.subtract(after, before)
    means = np.array([np.mean(drawn) for drawn in itertools.product(values, repeat=5)])
    flips = np.array([np.mean(values * signs) for signs in itertools.product([1, -1], repeat=5)])
    exact = np.mean(np.abs(flips) >= values.mean() - 1e-12)
    found = compare(after, before)
    assert found.difference == pytest.approx(values.mean())
    assert found.p_value == pytest.approx(exact, abs=0.01)
    assert found.interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.051)


def test_no_difference_is_certain_chance_and_a_constant_one_is_none() -> None:
    assert compare([1.0, 0.0], [1.0, 0.0]).p_value == 1
    assert compare([1.0] * 30, [0.0] * 30).p_value == pytest.approx(1 / 20_001)


def test_the_order_of_queries_does_not_matter_for_the_verdict() -> None:
    generator = np.random.default_rng(3)
    after, before = (generator.integers(0, 2, 200).astype(float).tolist() for _ in range(2))
    one, other = compare(after, before), compare(after[::-1], before[::-1])
    assert one == other


def test_queries_of_one_side_only_are_refused() -> None:
    with pytest.raises(
        DataError, match="dataset 'd': 2 queries are in one of the per-query files only, 'b' first"
    ):
        paired.differences("d", {"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0}, resamples=10, seed=0)


def test_the_smallest_detectable_difference_shrinks_with_the_root_of_the_queries() -> None:
    pattern = [1.0, 0.0, 0.0, 0.0]
    few, many = (compare(pattern * times, [0.0] * 4 * times, resamples=100).detectable for times in (25, 100))
    assert few / many == pytest.approx(2, rel=0.02)


def test_holm_is_monotone_and_at_least_the_p_value() -> None:
    values = [0.2, 0.001, 0.04, 0.04, 0.9]
    adjusted = paired.holm(values)
    assert adjusted == pytest.approx([0.4, 0.005, 0.16, 0.16, 0.9])
    assert paired.holm([]) == []


RUNS, DATASETS, QUERIES = 1000, 4, 400


def _differences(generator: np.random.Generator, drop: float) -> np.ndarray:
    """Per-query differences of correlated hits, RUNS x QUERIES: most queries come out the same for both."""
    shape = (RUNS, QUERIES)
    before = generator.random(shape) < 0.6
    after = np.where(generator.random(shape) < 0.1, generator.random(shape) < 0.6, before)
    return (after & (generator.random(shape) >= drop / 0.6)).astype(float) - before


def _verdict(template: Report, values: list[np.ndarray], generator: np.random.Generator) -> tuple[Check, ...]:
    """What the gate says of one run: no drop is allowed that is more than chance."""
    (comparison,) = template.comparisons
    tests = {}
    for dataset, one in enumerate(values):
        drawn = paired.sign_flips(one, 499, generator)
        tests[f"d{dataset}"] = paired.test([paired.Differences(one, drawn, drawn)])
    adjusted = paired.holm([one.p_value for one in tests.values()])
    before, after = template.columns
    cells = {name: replace(after.cells[name], value=0.5 + test.difference) for name, test in tests.items()}
    report = replace(
        template,
        columns=(before, replace(after, cells=cells)),
        paired={
            (comparison, name): replace(test, adjusted=p_value)
            for (name, test), p_value in zip(tests.items(), adjusted, strict=True)
        },
    )
    return gate.check(report, [parse_max_drop("0")], significant=True, allow_missing=False)


@pytest.mark.parametrize("drop", [0.0, 0.102])
def test_of_a_thousand_runs_of_the_gate_few_are_false_alarms_and_few_drops_are_missed(drop: float) -> None:
    """Four datasets a run, Holm over them; the drop, in the first, is twice the detectable difference."""
    generator = np.random.default_rng(7)
    simulated = [_differences(generator, 0.0 if dataset else drop) for dataset in range(DATASETS)]
    rows = [score_row(f"d{dataset}", 0.5) for dataset in range(DATASETS)]
    template = report_of(rows, rows)
    verdicts = [_verdict(template, [one[run] for one in simulated], generator) for run in range(RUNS)]
    false = sum(any(not one.passed and (one.name != "d0" or not drop) for one in run) for run in verdicts)
    assert false / RUNS <= 0.05
    if drop:
        caught = sum(any(not one.passed and one.name == "d0" for one in run) for run in verdicts)
        assert caught / RUNS >= 0.95
        detectable = paired.DETECTABLE * simulated[0].std(axis=1, ddof=1).mean() / QUERIES**0.5
        assert drop / detectable == pytest.approx(2, abs=0.1)


def _report(tmp_path: Path, after: list[int], before: list[int], **more: object) -> Report:
    files = {
        position: PerQuery(str(write_per_query(tmp_path / f"{position}.parquet", query_rows("d", hits))))
        for position, hits in enumerate((before, after))
    }
    rows, baseline = ([score_row("d", sum(hits) / len(hits))] for hits in (after, before))
    return report_of(rows, baseline, per_query=files, significant=True, **more)


def test_only_a_drop_that_is_not_chance_fails_the_gate(tmp_path: Path) -> None:
    limits = {"limits": [parse_max_drop("0.01")], "gate": True}
    chance = _report(tmp_path, [1, 0] * 20 + [0, 0], [1, 0] * 20 + [1, 0], **limits)
    assert [check.passed for check in chance.checks or ()] == [True]
    assert "may be chance" in (chance.checks or ())[0].fact
    real = _report(tmp_path, [1, 0] * 20, [1, 1] * 20, **limits)
    assert [check.passed for check in real.checks or ()] == [False]


@pytest.mark.parametrize("name", ["d", "d:hit@1", "overall", "OVERALL"])
def test_a_name_finds_its_test_however_it_is_typed(tmp_path: Path, name: str) -> None:
    limits = {"limits": [parse_max_drop(f"{name}=0.01")], "gate": True}
    report = _report(tmp_path, [1, 0] * 20 + [0, 0], [1, 0] * 20 + [1, 0], **limits)
    (check,) = report.checks or ()
    assert check.passed
    assert "may be chance" in check.fact


def test_a_dataset_named_like_a_mean_has_a_test_of_its_own(tmp_path: Path) -> None:
    hits = {"d": ([1, 0] * 20, [1, 1] * 20), "overall": ([1, 0] * 20, [1, 0] * 20)}
    files, rows = {}, []
    for position, side in enumerate((1, 0)):
        path = tmp_path / f"{position}.parquet"
        queries = [row for name, own in hits.items() for row in query_rows(name, own[side])]
        files[position] = PerQuery(str(write_per_query(path, queries)))
        rows.append([score_row(name, sum(own[side]) / 40) for name, own in hits.items()])
    report = report_of(rows[1], rows[0], per_query=files, significant=True)
    (comparison,) = report.comparisons
    (mean,) = report.means
    found = [report.paired[comparison, name].difference for name in ("d", "overall", mean.tested_as)]
    assert found == [-0.5, 0, -0.25]


def test_what_could_not_be_tested_is_named(tmp_path: Path) -> None:
    hits = [1, 0, 1, 0]
    paths = [str(write_per_query(tmp_path / f"{at}.parquet", query_rows("d", hits))) for at in (0, 1)]
    files = {at: PerQuery(path) for at, path in enumerate(paths)}
    rows = [score_row("d", 0.5), score_row("e", 0.5)]
    report = report_of(rows, rows, per_query=files, significant=True)
    assert report.notes == ("--significant could not test model on e: no main metric by query",)
    (comparison,) = report.comparisons
    assert {name for _, name in report.paired} == {"d"}
    assert report.paired[comparison, "d"].adjusted == 1


def test_tests_of_means_are_adjusted_as_a_family(tmp_path: Path) -> None:
    sides = {"a": ([1] * 9 + [0], [0] * 10), "b": ([1, 0] * 5, [0, 1] * 5)}
    facts = {"a": "image", "b": "video"}
    files, rows = {}, []
    for position, side in enumerate((1, 0)):
        queries = [row for name, own in sides.items() for row in query_rows(name, own[side])]
        files[position] = PerQuery(str(write_per_query(tmp_path / f"{position}.parquet", queries)))
        rows.append(
            [score_row(name, sum(own[side]) / 10, modality=facts[name]) for name, own in sides.items()]
        )
    report = report_of(rows[1], rows[0], per_query=files, significant=True)
    tests = {mean.key: report.paired[report.comparisons[0], mean.tested_as] for mean in report.means}
    assert set(tests) == {"image", "video", "overall"}
    adjusted = paired.holm([test.p_value for test in tests.values()])
    assert [test.adjusted for test in tests.values()] == adjusted
    assert tests["image"].adjusted == pytest.approx(3 * tests["image"].p_value)


def test_tests_are_made_for_datasets_and_means_and_need_both_files(tmp_path: Path) -> None:
    report = _report(tmp_path, [1, 0] * 20, [1, 1] * 20)
    (comparison,) = report.comparisons
    (overall,) = report.means
    assert {name for _, name in report.paired} == {"d", overall.tested_as}
    assert report.paired[comparison, "d"].difference == -0.5
    smallest = f"{report.paired[comparison, 'd'].detectable * 100:.1f}"
    for format in ("text", "md", "html"):
        assert f"differences of {smallest} points in a task" in " ".join(render(report, format).split())
    with pytest.raises(UsageError, match="--significant needs the per-query file of model"):
        report_of([score_row("d", 0.5)], [score_row("d", 0.5, "old")], significant=True)
    with pytest.raises(UsageError, match="there is nothing to compare with"):
        report_of([score_row("d", 0.5)], significant=True)
    with pytest.raises(UsageError, match="published scores have no values a query"):
        report_of([score_row("GQA", 0.5)], "published:LamRA-Ret", significant=True)
