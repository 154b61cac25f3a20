"""What a run did, dataset by dataset: how many, how near, what each rule took away."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vlm2vec_cli.mining.choose import Choices
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.topk import Floats, Ints
from vlm2vec_cli.mining.window import BEYOND, CANDIDATE, REASONS

log = logging.getLogger(__name__)

QUANTILES = (("min", 0.0), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("max", 1.0))
SIDES = ("positive", "negative", "difference")
WIDTH = 12


@dataclass(frozen=True)
class Summary:
    """`facts` is what --summary writes: `datasets` {name: counts and statistics}, and totals."""

    facts: dict[str, Any]

    def show(self) -> None:
        """The table on stderr."""
        for line in self.table():
            log.info("%s", line)

    def to_json(self) -> bytes:
        """The facts as a file."""
        return orjson.dumps(self.facts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def table(self) -> list[str]:
        """A few lines a dataset, for people."""
        lines = []
        for name, one in self.facts["datasets"].items():
            lines.append(
                f"{name}: {one['pairs']} pairs, {one['targets']} targets, {one['mined']} negatives"
                f" ({one['random']} at random), {one['short']} pairs short, {one['dropped']} dropped"
            )
            if any("mean" in one[side] for side in SIDES):
                lines.append("  ".join(["        ", *(f"{side:>{WIDTH}}" for side in SIDES)]).rstrip())
                for fact in ("count", "mean", "median", "std", *(name for name, _ in QUANTILES)):
                    cells = (_cell(one[side].get(fact)) for side in SIDES)
                    lines.append("  ".join([f"{fact:<8}", *cells]).rstrip())
            removed = [f"{rule} {count}" for rule, count in one["removed"].items() if count]
            if removed:
                lines.append(f"removed: {', '.join(removed)}")
        return lines


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
    facts = {"method": settings.method, "num_negatives": settings.num_negatives, **extra}
    return Summary({**facts, **totals, "datasets": datasets})


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
