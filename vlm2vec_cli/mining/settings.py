"""What a mining run is asked for. Nothing heavy is loaded here: the command line checks itself with it."""

from dataclasses import dataclass
from typing import Literal

from vlm2vec_cli.errors import UsageError

Method = Literal["dense", "labels", "random"]
Sampling = Literal["top", "random"]
OnShort = Literal["keep", "drop", "fill-random"]
Backend = Literal["exact", "faiss"]
MediaIdentity = Literal["bytes", "reference"]

TEXT_OF_POSITIVE = "positive.text"
SCORE_LIMITS = ("max_score", "min_score", "absolute_margin", "relative_margin")
WIDENING = 10  # candidates looked at for each negative where a filter may refuse some


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
    media_identity: MediaIdentity = "bytes"
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
            first, second = (_option(name) for name in sorted(given)[:2])
            raise UsageError(f"{first} and {second} exclude each other")
        if self.method == "random":
            self._refuse("has no scores", "model", "vectors", "range_max", *SCORE_LIMITS)
            if self.range_min:
                raise UsageError("--range-min has no use with --method random: it has no scores")
        elif not given - {"neighbors"} and (self.method == "dense" or "neighbors" not in given):
            raise UsageError(
                f"--method {self.method} needs vectors",
                hint="add -m MODEL or --vectors FILE" + (" or --neighbors FILE" * (self.method == "labels")),
            )
        if self.method != "labels":
            self._refuse("has no labels", "neighbors", "neighbors_out")
            if self.label_field != TEXT_OF_POSITIVE:
                raise UsageError(f"--label-field has no use with --method {self.method}: it has no labels")
        elif self.corpus is not None:
            raise UsageError("--corpus has no use with --method labels: its targets are the pairs' labels")
        if self.backend == "faiss" and self.method != "dense":
            raise UsageError(f"--backend faiss has no use with --method {self.method}")
        if self.neighbors is not None and self.neighbors_out is not None:
            raise UsageError("--neighbors and --neighbors-out exclude each other")

    def _refuse(self, why: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"{_option(name)} has no use with --method {self.method}: it {why}")

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
        if self.relative_margin is not None and not 0 <= self.relative_margin <= 1:
            raise UsageError(f"--relative-margin: expected 0 to 1, got {self.relative_margin:g}")
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise UsageError(f"--min-score {self.min_score:g} is above --max-score {self.max_score:g}")

    def resolved_range_max(self, most_positives: int) -> int:
        """`range_max`, or its default: for labels `num_neighbors`, else that of sentence-transformers.

        `most_positives`: the largest number of pairs that share a query. Where a maximum or margin may refuse
        candidates, ten times as many are looked at.
        """
        if self.range_max is not None or self.method == "labels":
            return self.num_neighbors if self.range_max is None else self.range_max
        refusing = (self.max_score, self.absolute_margin, self.relative_margin)
        widening = WIDENING if any(one is not None for one in refusing) else 1
        return self.range_min + self.num_negatives * widening + most_positives


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
