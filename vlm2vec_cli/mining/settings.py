"""What a mining run is asked for. Nothing heavy is loaded here: the command line checks itself with it."""

from dataclasses import dataclass, fields
from typing import Literal

from vlm2vec_cli.errors import UsageError

Method = Literal["dense", "bm25", "labels", "random"]
Sampling = Literal["top", "random"]
OnShort = Literal["keep", "drop", "fill-random"]
Backend = Literal["exact", "faiss"]
MediaIdentity = Literal["bytes", "reference"]
SameDocument = Literal["allow", "exclude"]

TEXT_OF_POSITIVE = "positive.text"
SCORE_LIMITS = ("max_score", "min_score", "absolute_margin", "relative_margin")
WIDENING = 10  # candidates looked at for each negative where a filter may refuse some
MOST_BITS = 31  # of 256, by which pictures may differ and still be near-duplicates


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `mine-negatives`, under their names. UsageError where they do not go together."""

    method: Method = "dense"
    model: str | None = None
    vectors: str | None = None
    corpus: str | None = None
    num_negatives: int = 3
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling: Sampling = "top"
    across_datasets: bool = False
    replace: bool = False
    on_short: OnShort = "keep"
    backend: Backend = "exact"
    device: str = "auto"
    summary: str | None = None
    media_identity: MediaIdentity = "bytes"
    same_document: SameDocument = "allow"
    near_duplicates: int | None = None
    rescore: str | None = None
    rescore_margin: float = 0.05
    keep_positives_below: float | None = None
    group_batches: int | None = None
    audit: str | None = None
    audit_size: int = 50
    cache: str | None = None
    label_field: str = TEXT_OF_POSITIVE
    num_neighbors: int = 10
    neighbors: str | None = None
    neighbors_out: str | None = None
    allow_mixed: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        self._check_numbers()
        given = {name for name in ("model", "vectors", "neighbors") if getattr(self, name) is not None}
        if len(given) > 1:
            first, second = (option(name) for name in sorted(given)[:2])
            raise UsageError(f"{first} and {second} exclude each other")
        needs = {"dense": {"model", "vectors"}, "labels": {"model", "vectors", "neighbors"}}
        wanted = needs.get(self.method, set())
        if wanted and not given & wanted:
            raise UsageError(
                f"--method {self.method} needs vectors",
                hint="add -m MODEL or --vectors FILE" + (" or --neighbors FILE" * (self.method == "labels")),
            )
        if self.method == "random":
            self._refuse("it has no scores", "range_max", "range_min", *SCORE_LIMITS)
            if self.rescore is None:
                self._refuse("it has no scores", "keep_positives_below", "audit")
            self._refuse("nothing is near", "group_batches")
        if not wanted:
            self._refuse("it needs no vectors", "model", "vectors")
        if self.method == "labels":
            self._refuse("its targets are the pairs' labels", "corpus", "near_duplicates", "same_document")
        else:
            self._refuse("it has no labels", "neighbors", "neighbors_out", "label_field")
        if self.method != "dense":
            self._refuse("it searches no vectors", "backend")
        if self.neighbors is not None and self.neighbors_out is not None:
            raise UsageError("--neighbors and --neighbors-out exclude each other")
        if self.cache is not None and self.model is None and self.rescore is None:
            raise UsageError("--cache keeps what a model computes", hint="add -m MODEL")

    def _refuse(self, why: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) != _DEFAULTS[name]:
                raise UsageError(f"{option(name)} has no use with --method {self.method}: {why}")

    def _check_numbers(self) -> None:
        if self.num_negatives < 1:
            raise UsageError(f"--num-negatives: expected a number above 0, got {self.num_negatives}")
        if self.range_min < 0:
            raise UsageError(f"--range-min: expected a number from 0, got {self.range_min}")
        room = None if self.range_max is None else self.range_max - self.range_min
        if room is not None and room < self.num_negatives:
            raise UsageError(
                f"--range-max {self.range_max} leaves {max(0, room)} of {self.num_negatives} negatives",
                hint="raise --range-max, or lower --range-min or --num-negatives",
            )
        for name in ("relative_margin", "rescore_margin"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise UsageError(f"{option(name)}: expected 0 to 1, got {share:g}")
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise UsageError(f"--min-score {self.min_score:g} is above --max-score {self.max_score:g}")

    def resolved_range_max(self, most_positives: int) -> int:
        """`range_max`, or its default: for labels `num_neighbors`, else that of sentence-transformers.

        `most_positives`: the largest number of pairs that share a query. Where a maximum or margin may refuse
        candidates, ten times as many are looked at.
        """
        if self.range_max is not None or self.method == "labels":
            return self.num_neighbors if self.range_max is None else self.range_max
        refusing = (self.max_score, self.absolute_margin, self.relative_margin, self.rescore)
        widening = WIDENING if any(one is not None for one in refusing) else 1
        return self.range_min + self.num_negatives * widening + most_positives


def option(name: str) -> str:
    """The field `name` as it is typed."""
    return f"--{name.replace('_', '-')}"


_DEFAULTS = {one.name: one.default for one in fields(Settings)}
