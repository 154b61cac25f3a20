"""What reports compare with what, and which rows and comparisons they refuse."""

import pytest

from reports import mean, report_of, score_row
from vlm2vec_cli.errors import DataError

V2 = "published:VLM2Vec-V2.0-Qwen2VL-2B"


def test_differences_are_over_the_tasks_both_sides_have() -> None:
    report = report_of([score_row("a", 0.5), score_row("b", 0.9)], [score_row("b", 0.6), score_row("c", 0.1)])
    overall = next(one for one in report.means if one.key == "overall")
    (comparison,) = report.comparisons
    assert report.difference(comparison, overall.tasks) == pytest.approx(0.3)
    assert report.difference(comparison, ["a"]) is None


def test_of_two_models_the_second_is_compared_with_the_first_and_of_three_none() -> None:
    two = [score_row("a", 0.1, "before"), score_row("a", 0.4, "after")]
    (comparison,) = report_of(two).comparisons
    assert (comparison.reference, comparison.column) == (0, 1)
    assert report_of([*two, score_row("a", 0.2, "third")]).comparisons == ()


def test_a_model_is_compared_with_its_namesake_in_a_baseline_of_several() -> None:
    rows = [score_row("a", 0.5, "x"), score_row("a", 0.6, "y")]
    baseline = [score_row("a", 0.1, "y"), score_row("a", 0.2, "x")]
    report = report_of(rows, baseline)
    pairs = [
        (report.columns[one.column].model, report.columns[one.reference].model) for one in report.comparisons
    ]
    assert pairs == [("x", "x"), ("y", "y")]
    assert len({column.name for column in report.columns}) == 4
    with pytest.raises(DataError, match="holds 2 models, none of them 'z'"):
        report_of([score_row("a", 0.5, "z")], baseline)


def test_published_columns_keep_only_what_was_scored_here() -> None:
    report = report_of([score_row("GQA", 0.7), score_row("K700", 0.2)], V2)
    assert set(report.columns[0].cells) == {"GQA", "K700"}
    assert mean(report, "overall", column=0).found == 2
    assert report.columns[0].notes


def test_a_second_row_of_one_dataset_and_model_is_refused_with_both_places() -> None:
    with pytest.raises(DataError) as caught:
        report_of([score_row("a", 0.1), score_row("b", 0.1), score_row("a", 0.2)])
    assert str(caught.value) == (
        "scores.jsonl line 3: dataset 'a' of model 'model' has a score already, at scores.jsonl line 1"
    )


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        (score_row("a", 0.5, metrics={"hit@1": 0.6}), "main_score is 0.5, but metrics.hit@1 is 0.6"),
        (score_row("a", 0.5, ci95={"hit@1": [0.4, 1.2]}), "ci95.hit@1: [0.4, 1.2] is outside 0..1"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(row: dict[str, object], fact: str) -> None:
    with pytest.raises(DataError) as caught:
        report_of([row])
    assert str(caught.value) == f"scores.jsonl line 1: {fact}"


def test_no_row_and_unequal_main_metrics_are_refused() -> None:
    with pytest.raises(DataError, match="no score rows"):
        report_of([])
    with pytest.raises(DataError, match="dataset 'a': main metric hit@1 of m, ndcg_linear@5 of n"):
        report_of([score_row("a", 0.5, "m"), score_row("a", 0.5, "n", main_metric="ndcg_linear@5")])


SAME = {"text_digest": "aa", "data_digest": "bb"}


@pytest.mark.parametrize(
    ("other", "fact"),
    [
        ({"text_digest": "cc"}, "other prompts or texts (text_digest aa / cc)"),
        ({"data_digest": "cc"}, "other queries, candidates, judgements or pools (data_digest bb / cc)"),
        ({"similarity": "dot"}, "another similarity (similarity cosine / dot)"),
        ({"ties": "optimistic"}, "another rule for ties (ties id / optimistic)"),
        ({"no_relevant": "zero"}, "queries without anything relevant count otherwise"),
    ],
)
def test_unequal_evaluations_are_compared_only_when_told(other: dict[str, str], fact: str) -> None:
    rows = [score_row(name, 0.5, "m", **SAME) for name in "ab"]
    others = [score_row(name, 0.5, "n", **{**SAME, **other}) for name in "ab"]
    with pytest.raises(DataError) as raised:
        report_of([*rows, *others])
    message = f"dataset 'a': m and n were not scored on the same terms: {fact}"
    assert str(raised.value).startswith(message)
    assert str(raised.value).endswith(", and so in 1 more")
    (note,) = report_of([*rows, *others], allow_unequal=True).notes
    assert note == str(raised.value)
    with pytest.raises(DataError, match="not scored on the same terms"):
        report_of(others, rows)


def test_what_a_row_does_not_say_and_what_was_published_can_be_compared() -> None:
    rows = [score_row("GQA", 0.5, "m", **SAME)]
    assert report_of([*rows, score_row("GQA", 0.5, "n")]).comparisons
    assert report_of(rows, "published:LamRA-Ret").comparisons
