"""How to score, what to measure on a dataset, and what came out of it.

Q queries, M metrics, K ranks that are kept.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli import __version__
from vlm2vec_cli.metrics import Measure
from vlm2vec_cli.scoring import bootstrap
from vlm2vec_cli.scoring.corpus import Ties
from vlm2vec_cli.scoring.dataset import FACTS, Dataset
from vlm2vec_cli.scoring.matrix import Precision, Similarity

if TYPE_CHECKING:
    from vlm2vec_cli.scoring.predicates import SceneGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NoRelevant = Literal["exclude", "zero", "error"]

METRICS: Final = ("hit", "precision", "recall", "f1", "map", "mrr", "ndcg_linear", "ndcg_exponential")
CUTOFFS: Final = (1, 5, 10)
DEFAULT: Final = tuple(Measure(metric, k) for metric in METRICS for k in CUTOFFS)
"""What the reference prints."""


@dataclass(frozen=True, slots=True)
class Overall:
    """A metric that is no mean over queries: its value and the ends of its interval."""

    value: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to score. `keep` is how many ranked candidates of each query a result holds."""

    measures: tuple[Measure, ...] = DEFAULT
    main: Measure | None = None
    similarity: Similarity = "cosine"
    ties: Ties = "id"
    no_relevant: NoRelevant = "exclude"
    resamples: int = 1000
    seed: int = 0
    keep: int = 0
    first_rank: bool = False  # whether `Result.rank_Q` is needed
    dim: int | None = None  # the first so many numbers of each vector; None: all
    precision: Precision | None = None  # what vectors are rounded to; None: as they are
    rescore: int | None = None  # how many of each ranking the whole vectors put in order again
    scene_graph: "SceneGraph | None" = None


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset with what is to be measured on it."""

    dataset: Dataset
    measures: tuple[Measure, ...]
    main: Measure
    facts: dict[str, str]
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def made_by(self) -> dict[str, str]:
        """`model` and `fingerprint` as far as the vectors said."""
        known = {"model": self.dataset.models, "fingerprint": self.dataset.fingerprints}
        return {name: " + ".join(several) for name, several in known.items() if several}


@dataclass(frozen=True, slots=True)
class Result:
    """What came out for one dataset; candidates are numbers of the dataset, -1 past the end of a ranking."""

    task: Task
    settings: Settings
    query_Q: Ints  # positions in the dataset's queries, those without relevant left out or not
    values_QM: Floats
    rank_Q: Ints  # of the first relevant candidate, 0 where none is ranked; zeros unless settings.first_rank
    num_ranked_Q: Ints
    index_QK: Ints
    score_QK: NDArray[np.float32]  # NaN where a run has no scores
    num_candidates: int
    num_without: int  # queries without anything relevant
    num_repeats: int = 0  # queries that rank something relevant twice
    stored: Mapping[str, Any] = field(default_factory=dict)  # dim, precision, rescore: how vectors were seen
    overall: Mapping[str, Overall] = field(default_factory=dict)  # metrics of all queries together

    def row(self) -> dict[str, Any]:
        """The score row; a metric over everything is the main one, the first of several."""
        dataset, names = self.task.dataset, [measure.name for measure in self.task.measures]
        count = len(self.values_QM)
        means = {name: math.fsum(self.values_QM[:, m]) / count for m, name in enumerate(names)}
        row: dict[str, Any] = {"dataset": dataset.name}
        row |= {name: self.task.facts[name] for name in FACTS[:3] if name in self.task.facts}
        row |= self.task.made_by
        row |= self.stored
        row |= {"num_queries": count, "num_candidates": self.num_candidates}
        if self.num_without:
            row["num_without_relevant"] = self.num_without
            if self.settings.no_relevant == "zero":
                row["no_relevant"] = "zero"
        if self.num_repeats:
            row["num_with_repeats"] = self.num_repeats
        main = next(iter(self.overall), self.task.main.name)
        values = means | {name: one.value for name, one in self.overall.items()}
        row |= {"main_metric": main, "main_score": values[main], "metrics": values}
        if self.settings.resamples and count > 1:
            rng = bootstrap.generator(self.settings.seed, dataset.name)
            ends = bootstrap.intervals(self.values_QM, self.settings.resamples, rng)
            row["ci95"] = dict(zip(names, ends.tolist(), strict=True))
            row["ci95"] |= {name: list(one.ci95) for name, one in self.overall.items() if one.ci95}
        usual = Settings()
        if self.settings.similarity != usual.similarity:
            row["similarity"] = self.settings.similarity
        if self.settings.ties != usual.ties:
            row["ties"] = self.settings.ties
        if self.settings.scene_graph is not None:
            row |= self.settings.scene_graph.facts(dataset)
        row |= self.task.digests
        return row | {"tool_version": __version__}
