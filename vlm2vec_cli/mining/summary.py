"""What a run did, dataset by dataset: how many, how near, what each rule took away."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vlm2vec_cli.mining.choose import Choices
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.window import BEYOND, CANDIDATE, REASONS
from vlm2vec_cli.nearest import Floats, Ints

log = logging.getLogger(__name__)

QUANTILES = (("min", 0.0), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("max", 1.0))
SIDES = ("positive", "negative", "difference")
WIDTH = 12
EXPECTED = ("positive", "same_query")  # removed from every list; the line leaves them out
NAMED = 3
MOST_LISTED = 1000

Facts = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """`facts` is what --summary writes: `datasets` {name: counts and statistics}, and totals."""

    facts: dict[str, Any]

    def show(self) -> None:
        """A line a dataset on stderr, and the table below it."""
        for name, one in self.facts["datasets"].items():
            log.info("%s", _line(name, one))
            for line in _table(one):
                log.info("%s", line)
        low = self.facts.get("low_positives")
        if low and low["count"]:
            first = ", ".join(f"{one['place']} ({one['score']:.4f})" for one in low["pairs"][:NAMED])
            dots = ", ..." * (low["count"] > NAMED)
            log.warning("%d positives score below %g: %s%s", low["count"], low["below"], first, dots)

    def to_json(self) -> bytes:
        """The facts as a file."""
        return orjson.dumps(self.facts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _line(name: str, one: Facts) -> str:
    line = f"{name}: {one['mined']} negatives for {one['pairs']} pairs among {one['targets']} targets"
    for fact, word in (("random", "drawn at random"), ("short", "pairs short"), ("dropped", "dropped")):
        if one[fact]:
            line += f", {one[fact]} {word}"
    if "mean" in one["negative"]:
        line += f"; mean score {one['negative']['mean']:.4f}, positives {one['positive']['mean']:.4f}"
    removed = [f"{rule} {count}" for rule, count in one["removed"].items() if count and rule not in EXPECTED]
    return line + ("; removed: " + ", ".join(removed) if removed else "")


def _table(one: Facts) -> Iterator[str]:
    if any("mean" in one[side] for side in SIDES):
        yield "  ".join(["        ", *(f"{side:>{WIDTH}}" for side in SIDES)]).rstrip()
        for fact in ("count", "mean", "median", "std", *(name for name, _ in QUANTILES)):
            yield "  ".join([f"{fact:<8}", *(_cell(one[side].get(fact)) for side in SIDES)]).rstrip()


def summarize(
    pairs: Pairs, pools: list[Pool], choices: Choices, settings: Settings, extra: dict[str, Any]
) -> Summary:
    """The summary of all pools; `extra` are further facts about the run."""
    counts = choices.counts()
    datasets = {}
    for pool in pools:
        names = np.array([pairs.datasets[row] for row in pool.rows])
        for name in dict.fromkeys(names.tolist()):
            rows = pool.rows[names == name]
            datasets[name] = _of_dataset(name, rows, counts[rows], pool, choices, settings)
    totals = {
        fact: sum(one[fact] for one in datasets.values())
        for fact in ("pairs", "mined", "random", "short", "dropped")
    }
    facts = {"method": settings.method, "num_negatives": settings.num_negatives, **extra, **totals}
    if settings.keep_positives_below is not None:
        facts["low_positives"] = _low_facts(pairs, choices, settings)
    return Summary({**facts, "datasets": datasets})


def low_positives(pairs: Pairs, choices: Choices, settings: Settings) -> list[tuple[int, float]]:
    """Pairs whose own positive scores below `keep_positives_below`, by the judge if any, lowest first."""
    if settings.keep_positives_below is None:
        return []
    scores = choices.positives if settings.rescore is None else choices.judged_positives
    living = np.array(list(pairs.living()), dtype=np.int64)
    low = living[scores[living] < settings.keep_positives_below]
    low = low[np.argsort(scores[low], kind="stable")]
    return list(zip(low.tolist(), scores[low].tolist(), strict=True))


def _low_facts(pairs: Pairs, choices: Choices, settings: Settings) -> Facts:
    low = low_positives(pairs, choices, settings)
    listed = [
        {
            "place": pairs.place(row),
            "dataset": pairs.datasets[row],
            "id": pairs.ids[row],
            "score": round(score, 6) + 0.0,
        }
        for row, score in low[:MOST_LISTED]
    ]
    return {"below": settings.keep_positives_below, "count": len(low), "pairs": listed}


def _of_dataset(
    name: str, rows: Ints, counts: Ints, pool: Pool, choices: Choices, settings: Settings
) -> dict[str, Any]:
    scores = choices.scores[rows].astype(np.float64)
    positives = choices.positives[rows].astype(np.float64)
    short = int((counts < settings.num_negatives).sum())
    removed = choices.reasons.get(name, Counter())
    return {
        "pairs": len(rows),
        "targets": len(pool),
        "copies": pool.num_offers - pool.num_drawable,
        "mined": int(counts.sum()),
        "random": int(((choices.units[rows] >= 0) & (choices.ranks[rows] == 0)).sum()),
        "short": short,
        "dropped": short if settings.on_short == "drop" else 0,
        "by_count": {str(count): int((counts == count).sum()) for count in np.unique(counts).tolist()},
        "positive": _statistics(positives),
        "negative": _statistics(scores),
        "difference": _statistics(positives[:, None] - scores),
        "removed": {
            rule: removed.get(rule, 0)
            for place, rule in enumerate(REASONS)
            if place not in (CANDIDATE, BEYOND)
        },
    }


def _statistics(values: "Floats | np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    """Of the scores there are: count, and with at least one mean, median, sample deviation, quantiles."""
    known = values[~np.isnan(values)]
    found: dict[str, float] = {"count": len(known)}
    if len(known):
        spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
        facts = {"mean": float(known.mean()), "median": float(np.median(known)), "std": spread}
        facts.update({name: float(np.quantile(known, share)) for name, share in QUANTILES})
        found.update({name: round(value, 6) + 0.0 for name, value in facts.items()})
    return found


def _cell(value: float | None) -> str:
    if value is None:
        return " " * WIDTH
    return f"{value:>{WIDTH},}" if isinstance(value, int) else f"{value:>{WIDTH}.4f}"
