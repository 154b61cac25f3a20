"""Ranking metrics, one a file: `measure`, `SPELLINGS` and `NEEDS_CUTOFF` are what a metric file holds.

A metric sees a batch of rankings as arrays, not ids: what stands at each rank, and what would be ideal. A new
metric is one new file here and its test; the file's name is the metric's name. `parse` reads a metric's name
in our spelling (`hit@1`), that of ir-measures (`nDCG@5`, `RR@10`) or that of trec_eval (`ndcg_cut_5`,
`recip_rank`).

Q queries, R ranks: as many as the longest ranking, the largest cutoff and the most relevant candidates of the
batch ask for. A shorter ranking ends in ranks that hold nothing.
"""

import re
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli import plugins
from vlm2vec_cli.errors import UsageError, nearest

PACKAGE: Final = "metrics"
NAME: Final = re.compile(r"(?P<base>.+?)(?:[@_.](?P<k>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Judged:
    """Q rankings, best first, with their judgements.

    A pool may hold a candidate twice; `repeat_QR` marks all but its best rank, so that a metric over sets can
    leave them out while a metric that walks the list counts them, as the reference does.
    """

    hit_QR: NDArray[np.bool_]  # a relevant candidate stands here
    repeat_QR: NDArray[np.bool_]  # the candidate here has stood at a better rank already
    gain_QR: NDArray[np.float64]  # its gain, 0 where nothing relevant stands
    num_relevant_Q: NDArray[np.int64]  # relevant candidates of the query, ranked or not
    ideal_QR: NDArray[np.float64]  # gains of the relevant, descending, filled with 0


class Metric(Protocol):
    """What a metric file holds."""

    SPELLINGS: tuple[str, ...]
    """Other names of it, lower case, before the cutoff: those of trec_eval and ir-measures."""

    NEEDS_CUTOFF: bool
    """Whether it means nothing without `@k`."""

    @staticmethod
    def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
        """The metric of each query (Q,), in 0..1 where no candidate is ranked twice; k None = no cutoff."""
        ...


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric at a cutoff; `k` None looks at the whole ranking."""

    metric: str
    k: int | None

    @property
    def name(self) -> str:
        """The canonical name, such as "hit@1" or "map"."""
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def __call__(self, judged: Judged) -> NDArray[np.float64]:
        """The value of each query, shape (Q,)."""
        return load(self.metric).measure(judged, self.k)


def names() -> tuple[str, ...]:
    """The metrics there are, sorted."""
    return tuple(sorted(name.replace("-", "_") for name in plugins.names(PACKAGE)))


def load(name: str) -> Metric:
    """The metric of that file name."""
    return cast(Metric, plugins.load(PACKAGE, name))


def parse(name: str) -> Measure:
    """The measure that `name` means; upper and lower case are one. UsageError for one that is not known.

    >>> parse("nDCG@5").name, parse("recip_rank").name, parse("P_5").name
    ('ndcg_linear@5', 'mrr', 'precision@5')
    """
    spellings = {one: one for one in names()}
    spellings |= {other: one for one in names() for other in load(one).SPELLINGS}
    wanted = name.strip().casefold().replace("-", "_")
    found = NAME.fullmatch(wanted)
    base, k = (found["base"], found["k"]) if found else (wanted, None)
    metric = spellings.get(base)
    if metric is None:
        raise UsageError(f"unknown metric {name!r}", hint=_hint(base, spellings))
    if k is None and load(metric).NEEDS_CUTOFF:
        raise UsageError(f"metric {name!r} needs a cutoff", hint=f"write {metric}@5")
    if k is not None and int(k) < 1:
        raise UsageError(f"metric {name!r}: the cutoff must be at least 1")
    return Measure(metric, None if k is None else int(k))


def _hint(base: str, spellings: dict[str, str]) -> str:
    known = ", ".join(sorted(set(spellings.values())))
    return nearest(base, spellings) or f"known are {known}, each with a cutoff as in hit@1"
