"""Recall of relations against its definition spelt out in plain Python."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.scoring import evaluate
from vlm2vec_cli.scoring.collect import Collector
from vlm2vec_cli.scoring.dataset import check
from vlm2vec_cli.scoring.predicates import SceneGraph, read_names
from vlm2vec_cli.scoring.result import Result, Settings
from vlm2vec_cli.streams.batches import gathered

PREDICATES = ["on", "has", "near", "riding", "no relation"]
Row = dict[str, Any]


def rows_of(seed: int) -> list[Row]:
    """Six pictures of two to four objects; a picture without relations, pairs with several."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        {"id": name, "role": "candidate", "embedding": rng.standard_normal(6)} for name in PREDICATES
    ]
    for image in range(6):
        for subject in range(rng.integers(2, 5)):
            for other in range(2):
                chosen = rng.permutation(PREDICATES)[: rng.integers(0, 3) if image else 0]
                relevant = {str(name): 1.0 for name in chosen}
                vector = rng.standard_normal(6)
                rows.append(
                    {
                        "id": f"{image}-{subject}-{other}",
                        "role": "query",
                        "image_id": str(image),
                        "embedding": vector,
                        "relevant": relevant,
                    }
                )
    return rows


def scored(rows: list[Row], graph: SceneGraph, **settings: Any) -> Result:
    def reject(error: Exception) -> None:
        raise error

    origin = Origin("rows.jsonl", Path("."), "line")
    collector = Collector(reject)
    typed = [{**row, "dataset": "d", "embedding": row["embedding"].astype(np.float32)} for row in rows]
    collector.add(gathered(Record(row, origin, at) for at, row in enumerate(typed, start=1)))
    options = Settings(scene_graph=graph, **settings)
    (task,) = evaluate.plan(check(collector.datasets.values()), options)
    return evaluate.by_vectors(task, options)


def naive(rows: list[Row], k: int, *, constrained: bool, only: set[str]) -> dict[str, float]:
    """Ranks the triples of each picture by sorting tuples; counts in dictionaries."""
    unit = {one["id"]: one["embedding"] / np.linalg.norm(one["embedding"]) for one in rows}
    names = [name for name in PREDICATES if name != "no relation"]
    found: dict[tuple[str, str], int] = {}
    total: dict[tuple[str, str], int] = {}
    for image in {row["image_id"] for row in rows if row["role"] == "query"}:
        pairs = [row for row in rows if row.get("image_id") == image]
        triples = []
        for pair in pairs:
            ranked = sorted(((float(unit[pair["id"]] @ unit[one]), one) for one in names), reverse=True)
            triples += [(score, pair["id"], one) for score, one in (ranked[:1] if constrained else ranked)]
        first = {(pair, one) for _, pair, one in sorted(triples, reverse=True)[:k]}
        for pair in pairs:
            for one in set(pair["relevant"]) & only:
                total[image, one] = total.get((image, one), 0) + 1
                found[image, one] = found.get((image, one), 0) + ((pair["id"], one) in first)

    def share(keys: list[tuple[str, str]]) -> float:
        return sum(found[key] for key in keys) / sum(total[key] for key in keys)

    images, predicates = ({key[at] for key in total} for at in (0, 1))
    return {
        "recall": share(list(total)),
        "image_recall": float(np.mean([share([key for key in total if key[0] == one]) for one in images])),
        "mean_recall": float(np.mean([share([key for key in total if key[1] == one]) for one in predicates])),
    }


@pytest.mark.parametrize("seed", range(4))
def test_recall_is_its_definition(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm2vec_cli.scoring.predicates.CUTOFFS", (1, 3, 50))
    rows = rows_of(seed)
    graph = SceneGraph(frozenset({"riding", "near"}), frozenset({"no relation"}))
    row = scored(rows, graph, resamples=50).row()
    every = {"": {"on", "has", "near", "riding"}, "_base": {"on", "has"}, "_novel": {"near", "riding"}}
    for way, constrained in (("", True), ("ng_", False)):
        for part, only in every.items():
            for k in (1, 3, 50):
                for kind, value in naive(rows, k, constrained=constrained, only=only).items():
                    name = f"sgg_{way}{kind}{part}@{k}"
                    assert row["metrics"][name] == pytest.approx(value, abs=1e-12), name
                    low, high = row["ci95"][name]
                    assert 0 <= low <= high <= 1
    assert row["main_metric"] == "sgg_mean_recall@50"
    assert row["main_score"] == row["metrics"]["sgg_mean_recall@50"]
    assert "hit@1" in row["metrics"]


def test_without_constraint_every_relation_is_found_in_the_end_and_with_it_one_a_pair() -> None:
    rows = rows_of(9)
    row = scored(rows, SceneGraph(), resamples=0).row()
    assert row["metrics"]["sgg_ng_recall@100"] == 1
    assert row["metrics"]["sgg_recall@100"] < 1
    assert not any(name.endswith(("_base@50", "_novel@50")) for name in row["metrics"])
    for one in rows[:2]:
        one["novel"] = True
    listed = scored(rows, SceneGraph(frozenset({"on", "has"})), resamples=0).row()["metrics"]
    assert scored(rows, SceneGraph(), resamples=0).row()["metrics"] == listed
    assert "sgg_recall_novel@50" in listed


def test_ties_never_help_and_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm2vec_cli.scoring.predicates.CUTOFFS", (3,))
    rows = rows_of(3)
    for row in rows:
        row["embedding"] = np.ones(6) if row["role"] == "candidate" else row["embedding"]
    rows[0]["embedding"] = np.arange(6.0)  # all but one predicate are equal
    low, middle, high = (
        scored(rows, SceneGraph(ignored=frozenset(), main="sgg_ng_recall@3"), resamples=0, ties=ties).row()[
            "main_score"
        ]
        for ties in ("pessimistic", "id", "optimistic")
    )
    assert low <= middle <= high
    assert low < high


def test_recall_at_any_cutoff() -> None:
    rows = rows_of(1)
    usual = scored(rows, SceneGraph(), resamples=20).row()
    assert {name.partition("@")[2] for name in usual["metrics"] if name.startswith("sgg_")} == {
        "20",
        "50",
        "100",
    }
    names = ("sgg_ng_recall@3", "sgg_mean_recall@50")
    row = scored(rows, SceneGraph(main="sgg_recall@7", wanted=names), resamples=20).row()
    assert [name for name in row["metrics"] if name.startswith("sgg_")] == ["sgg_recall@7", *names]
    assert row["metrics"]["sgg_mean_recall@50"] == usual["metrics"]["sgg_mean_recall@50"]
    (value,) = (naive(rows, 7, constrained=True, only=set(PREDICATES[:4]))["recall"],)
    assert row["main_score"] == pytest.approx(value, abs=1e-12)


def test_a_row_says_which_predicates_were_taken_apart_or_left_out() -> None:
    rows = rows_of(1)
    row = scored(rows, SceneGraph(frozenset({"riding", "near"})), resamples=0).row()
    assert (row["novel"], row["ignored"]) == (["near", "riding"], ["no relation"])
    rows[0]["novel"] = True
    row = scored(rows, SceneGraph(ignored=frozenset({"has"})), resamples=0).row()
    assert (row["novel"], row["ignored"]) == (["on"], ["has"])


def test_names_that_no_predicate_has(caplog: pytest.LogCaptureFixture) -> None:
    rows = rows_of(1)
    with pytest.raises(DataError) as caught:
        scored(rows, SceneGraph(frozenset({"ridng"})))
    assert str(caught.value) == "--novel: dataset 'd': not among the candidates: predicate 'ridng'"
    assert caught.value.hint == "did you mean 'riding'?"
    with pytest.raises(
        DataError, match=r"^--ignore: dataset 'd': not among the candidates: 2 predicates: 'a', 'b'"
    ):
        scored(rows, SceneGraph(ignored=frozenset({"a", "b", "on"})))
    logging.getLogger("vlm2vec_cli").propagate = True
    scored(rows, SceneGraph(frozenset({"ridng", "on"})), resamples=0)
    assert "dataset 'd': not among the candidates: predicate 'ridng' of --novel" in caplog.text


def test_what_is_refused() -> None:
    rows = rows_of(0)
    del rows[7]["image_id"]
    with pytest.raises(DataError, match=r"^rows\.jsonl line 8: dataset 'd': query '0-1-0' names no picture"):
        scored(rows, SceneGraph())
    with pytest.raises(UsageError, match=r"^--main-metric: unknown metric 'sgg_recal@50'") as raised:
        SceneGraph(main="sgg_recal@50")
    assert "'sgg_recall@50'" in str(raised.value.hint)
    with pytest.raises(UsageError, match=r"^--metrics: metric 'sgg_recall' needs a cutoff"):
        SceneGraph(wanted=("sgg_recall",))
    with pytest.raises(DataError, match="no relation to compute sgg_recall_novel@50 from"):
        scored(rows_of(0), SceneGraph(main="sgg_recall_novel@50"))
    with pytest.raises(DataError, match="no relation to compute"):
        scored(rows_of(0), SceneGraph(ignored=frozenset(PREDICATES)))


def test_lists_of_predicates() -> None:
    assert read_names(["on, in front of", "", "riding"]) == {"on", "in front of", "riding"}
