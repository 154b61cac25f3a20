"""What every file in the folder has to have, and how metrics are named."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import CASES, CUTOFFS, Case, measured
from vlm2vec_cli import metrics
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.metrics import Judged, Measure, parse
from vlm2vec_cli.scoring.judge import Judgements

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent.parent / "golden" / "metrics_cases.json").read_text())


def test_the_metrics_of_the_reference_are_there() -> None:
    asked = {"hit", "precision", "recall", "f1", "map", "mrr", "ndcg_linear", "ndcg_exponential"}
    assert asked <= set(metrics.names())


@pytest.mark.parametrize("name", metrics.names())
def test_a_metric_file_is_complete(name: str) -> None:
    metric = metrics.load(name)
    assert list(inspect.signature(metric.measure).parameters) == ["judged", "k"]
    assert metric.measure.__annotations__["judged"] is Judged
    assert "Source:" in (metric.measure.__doc__ or "")
    assert all(spelling == spelling.lower() for spelling in metric.SPELLINGS)
    assert isinstance(metric.NEEDS_CUTOFF, bool)
    assert (HERE / f"test_{name}.py").is_file()


def test_no_spelling_means_two_metrics() -> None:
    spellings = [*metrics.names(), *(one for name in metrics.names() for one in metrics.load(name).SPELLINGS)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize(
    ("name", "canonical"),
    {
        "hit@1": "hit@1",
        "Success@1": "hit@1",
        "success_5": "hit@5",
        "nDCG@5": "ndcg_linear@5",
        "ndcg_cut_5": "ndcg_linear@5",
        "ndcg_cut.10": "ndcg_linear@10",
        "ndcg": "ndcg_linear",
        "nDCG(dcg='exp-log2')@10": "ndcg_exponential@10",
        "ndcg-linear@5": "ndcg_linear@5",
        "RR": "mrr",
        "RR@10": "mrr@10",
        "MRR@10": "mrr@10",
        "recip_rank": "mrr",
        "P_5": "precision@5",
        "P@5": "precision@5",
        "R@100": "recall@100",
        "recall_1000": "recall@1000",
        "map": "map",
        "map@10": "map@10",
        "map_cut_10": "ap@10",
        "AP@10": "ap@10",
        "AP": "ap",
        "f1@3": "f1@3",
        " hit@2 ": "hit@2",
    }.items(),
)
def test_spellings_of_other_tools(name: str, canonical: str) -> None:
    assert parse(name).name == canonical


@pytest.mark.parametrize(
    ("name", "fact", "hint"),
    [
        ("ngcd@5", "unknown metric 'ngcd@5'", "did you mean 'ndcg'?"),
        ("recal@5", "unknown metric 'recal@5'", "did you mean 'recall'?"),
        ("xyzzy", "unknown metric 'xyzzy'", "hit@1"),
        ("hit", "metric 'hit' needs a cutoff", "hit@5"),
        ("precision", "metric 'precision' needs a cutoff", "precision@5"),
        ("hit@0", "metric 'hit@0': the cutoff must be at least 1", None),
        ("", "unknown metric ''", "hit@1"),
    ],
)
def test_what_is_no_metric(name: str, fact: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        parse(name)
    assert raised.value.fact == fact
    assert (hint or "") in (raised.value.hint or "")


@given(CASES, CUTOFFS, st.sampled_from(metrics.names()))
def test_every_metric_stays_in_0_to_1_where_nothing_is_ranked_twice(
    cases: list[Case], k: int, name: str
) -> None:
    cases = [(list(dict.fromkeys(ranked)), gains) for ranked, gains in cases]
    values = measured(name, cases, k)
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@given(CASES, CUTOFFS, st.sampled_from(metrics.names()), st.randoms(use_true_random=False))
def test_no_metric_knows_the_order_in_which_judgements_arrive(
    cases: list[Case], k: int, name: str, random: Any
) -> None:
    shuffled = []
    for ranked, gains in cases:
        pairs = list(gains.items())
        random.shuffle(pairs)
        shuffled.append((ranked, dict(pairs)))
    assert (measured(name, cases, k) == measured(name, shuffled, k)).all()


@given(CASES, st.sampled_from(metrics.names()))
def test_a_perfect_ranking_is_1_at_as_many_as_are_relevant(cases: list[Case], name: str) -> None:
    for _, gains in cases:
        gains = {candidate: gain + 1 for candidate, gain in gains.items()}
        if gains:
            perfect = sorted(gains, key=lambda one: -gains[one])
            assert measured(name, [(perfect, gains)], len(gains)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_the_values_of_the_reference(case: dict[str, Any]) -> None:
    """`expected` has each label keep its own gain; a label with gain 0 still is a hit."""
    ids = sorted({one for test in case["tests"] for one in (*test["prediction"], *labels(test))})
    number = {one: at for at, one in enumerate(ids)}

    gains = [
        dict(zip((number[one] for one in labels(test)), test["rel_scores"] or [1.0] * 99, strict=False))
        for test in case["tests"]
    ]
    ranked = [[number[one] for one in test["prediction"]] for test in case["tests"]]
    index_QR = np.array([row + [-1] * (max(map(len, ranked)) - len(row)) for row in ranked])
    judged = Judgements(gains).judge(np.arange(len(ranked)), index_QR, max(case["k_list"]))
    assert case["expected"]
    for name, value in case["expected"].items():
        assert np.mean(parse(name)(judged)) == pytest.approx(value, abs=1e-9), name


def labels(test: dict[str, Any]) -> list[str]:
    return [test["label"]] if isinstance(test["label"], str) else test["label"]


Judge = tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]  # qrels and run of another tool


def random_cases(seed: int) -> tuple[list[Case], Judge]:
    """Graded rankings of some of twelve candidates, ours and in the form that other tools take."""
    rng = np.random.default_rng(seed)
    cases: list[Case] = []
    for _ in range(50):
        ranked = rng.permutation(list("abcdefghijkl"))[: rng.integers(1, 13)].tolist()
        relevant = rng.permutation(list("abcdefghijkl"))[: rng.integers(1, 9)].tolist()
        cases.append((ranked, {one: float(rng.integers(1, 4)) for one in relevant}))
    qrels = {str(q): {one: int(gain) for one, gain in gains.items()} for q, (_, gains) in enumerate(cases)}
    run = {
        str(q): {one: float(-rank) for rank, one in enumerate(ranked)} for q, (ranked, _) in enumerate(cases)
    }
    return cases, (qrels, run)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_trec_eval_on_random_graded_rankings(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    cases, (qrels, run) = random_cases(seed)
    cut = ("P", "recall", "success", "map_cut", "ndcg_cut")
    names = ["map", "recip_rank", "ndcg", *(f"{name}_{k}" for name in cut for k in (5, 10))]
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg", *cut}).evaluate(run)
    for name in names:
        measure: Measure = parse(name)
        ours = measured(measure.metric, cases, measure.k)
        np.testing.assert_allclose(ours, [expected[str(q)][name] for q in range(len(cases))], atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_equal_to_ranx_on_random_graded_rankings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # it compiles for minutes otherwise
    ranx = pytest.importorskip("ranx")
    cases, (qrels, run) = random_cases(5)
    peers = {"hit@5": "hit_rate@5", "f1@5": "f1@5", "ap": "map", "ap@5": "map@5", "mrr": "mrr"}
    peers |= {"precision@5": "precision@5", "recall@5": "recall@5"}
    peers |= {"ndcg_linear@5": "ndcg@5", "ndcg_exponential@5": "ndcg_burges@5"}
    judged = ranx.Qrels(qrels), ranx.Run(run)
    for name, peer in peers.items():
        ranx.evaluate(*judged, peer, make_comparable=False)
        expected = judged[1].scores[peer]
        measure = parse(name)
        ours = measured(measure.metric, cases, measure.k)
        theirs = [expected[str(q)] for q in range(len(cases))]
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=name)
