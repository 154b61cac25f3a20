"""From what is near to what is kept: the negatives of each pair of a pool."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate, islice
from random import Random

import numpy as np

from vlm2vec_cli.mining.draw import draws, generator
from vlm2vec_cli.mining.judge import Judge
from vlm2vec_cli.mining.known import POSITIVE_IDS, Known, verdicts
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.search import Search
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.window import CANDIDATE, REASONS, RESCORE, TOO_NEAR, Window, too_near, window
from vlm2vec_cli.nearest import Floats, Found, Ints, query_rows

SCORED_AT_ONCE = 16
Forbidden = list[dict[int, int]]


@dataclass
class Choices:
    """A row a pair: units of its negatives (-1: none), scores (NaN: none), ranks (0: drawn), own positive.

    `offers` are their places among what was offered (-1: none).
    `judged` and `judged_positives` are the same by the judge. `edges` are all candidates, mined or not,
    where `keep_edges`: pairs and groups, a pair's nearest first.
    """

    units: Ints
    offers: Ints
    scores: Floats
    ranks: Ints
    positives: Floats
    judged: Floats
    judged_positives: Floats
    keep_edges: bool = False
    edges: list[tuple[Ints, Ints]] = field(default_factory=list)
    reasons: dict[str, "Counter[str]"] = field(default_factory=dict)  # by dataset

    @classmethod
    def none(cls, num_pairs: int, num_negatives: int, *, keep_edges: bool = False) -> "Choices":
        """Nothing chosen yet."""
        shape = (num_pairs, num_negatives)
        unknown = np.full(num_pairs, np.nan, dtype=np.float32)
        return cls(
            np.full(shape, -1, dtype=np.int64),
            np.full(shape, -1, dtype=np.int64),
            np.full(shape, np.nan, dtype=np.float32),
            np.zeros(shape, dtype=np.int64),
            unknown.copy(),
            np.full(shape, np.nan, dtype=np.float32),
            unknown,
            keep_edges,
        )

    def counts(self) -> Ints:
        """How many negatives each pair has."""
        found: Ints = (self.units >= 0).sum(axis=1)
        return found


class Miner:
    """Chooses for the pairs of one pool."""

    def __init__(
        self,
        pairs: Pairs,
        pool: Pool,
        known: Known,
        search: Search,
        settings: Settings,
        choices: Choices,
        judge: Judge | None = None,
    ) -> None:
        self._pairs, self._pool, self._known, self._search = pairs, pool, known, search
        self._settings, self._choices, self._judge = settings, choices, judge
        self._most_positives = known.most_positives(pool.rows)
        self._range_max = settings.resolved_range_max(self._most_positives)
        self._fills = settings.method in ("labels", "random") or settings.on_short == "fill-random"
        choices.positives[pool.rows] = search.positive(pool.rows)
        self._lowest = self._lowest_positives()
        self._groups = np.array(list(pool.at), dtype=np.int64)

    def mine(self) -> None:
        """Fills in the choices of all pairs of the pool."""
        rows = self._pool.rows
        low = 0
        while low < len(rows):
            low += self._mine_some(rows[low : low + query_rows(self._range_max + self._most_positives)])

    def _lowest_positives(self) -> Floats:
        """By query group: the lowest score of the positives of its query, from which margins are measured."""
        groups = np.array(self._pairs.query_group, dtype=np.int64)
        lowest = np.full(groups.max(initial=-1) + 1, np.inf, dtype=np.float32)
        rows = self._pool.rows
        np.fmin.at(lowest, groups[rows], self._choices.positives[rows])
        return lowest

    def _mine_some(self, rows: Ints) -> int:
        forbidden = [self._pool.forbidden(self._known, row) for row in rows.tolist()]
        # Forbidden targets take places among the nearest without being looked at: so many more are asked for.
        extra = [sum(rule >= POSITIVE_IDS for rule in one.values()) for one in forbidden]
        wanted = self._range_max + self._most_positives
        most = list(accumulate(extra, max))
        fitting = 1
        while fitting < len(rows) and fitting < query_rows(wanted + most[fitting]):
            fitting += 1
        rows, forbidden = rows[:fitting], forbidden[:fitting]
        found = self._search.nearest(rows, wanted + most[fitting - 1])
        lowest = self._lowest[np.array([self._pairs.query_group[row] for row in rows], dtype=np.int64)]
        judged = window(
            found.scores,
            verdicts(forbidden, found.targets),
            lowest,
            self._settings,
            range_max=self._range_max,
            most_positives=self._most_positives,
        )
        opinions = self._rescore(rows, found, judged)
        self._count(rows, judged)
        self._take(rows, found, judged, opinions)
        if self._fills:
            self._fill(rows, found, judged, forbidden, lowest)
        return fitting

    def _rescore(self, rows: Ints, found: Found, judged: Window) -> Floats | None:
        """The judge's scores of the candidates, of which it refuses some."""
        if self._judge is None:
            return None
        opinions = np.full(found.targets.shape, np.nan, dtype=np.float32)
        at = np.nonzero(judged.reasons == CANDIDATE)
        opinions[at], stays = self._judge.judge(rows[at[0]], self._pool.units[found.targets[at]])
        judged.reasons[at] = np.where(stays, CANDIDATE, RESCORE)
        return opinions

    def _count(self, rows: Ints, judged: Window) -> None:
        datasets = [self._pairs.datasets[row] for row in rows]
        for name in dict.fromkeys(datasets):
            own = judged.reasons[[one == name for one in datasets]]
            counts = np.bincount(own.ravel(), minlength=len(REASONS)).tolist()
            self._choices.reasons.setdefault(name, Counter()).update(dict(zip(REASONS, counts, strict=True)))

    def _take(self, rows: Ints, found: Found, judged: Window, opinions: Floats | None) -> None:
        candidate = judged.reasons == CANDIDATE
        if self._choices.keep_edges:
            at = np.nonzero(candidate)
            self._choices.edges.append((rows[at[0]], self._groups[found.targets[at]]))
        num_negatives = self._settings.num_negatives
        if self._settings.sampling == "random":
            for place in np.flatnonzero(candidate.sum(axis=1) > num_negatives).tolist():
                columns = np.flatnonzero(candidate[place])
                random = self._random(rows[place])
                candidate[place] = False
                candidate[place, columns[sorted(random.sample(range(len(columns)), num_negatives))]] = True
        slots = np.cumsum(candidate, axis=1) - 1
        here, columns = np.nonzero(candidate & (slots < num_negatives))
        to = (rows[here], slots[here, columns])
        self._choices.units[to] = self._pool.units[found.targets[here, columns]]
        self._choices.offers[to] = self._pool.offers[found.targets[here, columns]]
        self._choices.ranks[to] = judged.ranks[here, columns]
        if self._search.has_scores:
            self._choices.scores[to] = found.scores[here, columns]
        if opinions is not None:
            self._choices.judged[to] = opinions[here, columns]

    def _fill(self, rows: Ints, found: Found, judged: Window, forbidden: Forbidden, lowest: Floats) -> None:
        counts = self._choices.counts()[rows]
        near = np.isin(judged.reasons, (CANDIDATE, *TOO_NEAR)) & (found.targets >= 0)
        for place in np.flatnonzero(counts < self._settings.num_negatives).tolist():
            row, count = int(rows[place]), int(counts[place])
            taken = {*forbidden[place], *found.targets[place, near[place]].tolist()}
            wanted = self._settings.num_negatives - count
            targets, scores, opinions = self._drawn(row, taken, wanted, lowest[place])
            stop = count + len(targets)
            self._choices.units[row, count:stop] = self._pool.units[targets]
            self._choices.offers[row, count:stop] = self._pool.offers[targets]
            self._choices.scores[row, count:stop] = scores
            self._choices.judged[row, count:stop] = opinions

    def _drawn(
        self, row: int, taken: set[int], wanted: int, lowest: np.float32
    ) -> tuple[Ints, Floats, Floats]:
        """Up to `wanted` random targets outside `taken` that no maximum, margin or judge refuses.

        With them their scores, and those of the judge.
        """
        random = self._random(row)
        drawn = (target for target in draws(random, self._pool.num_drawable) if target not in taken)
        parts: list[tuple[Ints, Floats, Floats]] = []
        while wanted > 0:
            some = np.array(list(islice(drawn, max(wanted, SCORED_AT_ONCE))), dtype=np.int64)
            if not len(some):
                break
            found = self._search.scores(row, some)
            if found is None:
                found = np.full(len(some), np.nan, dtype=np.float32)
            else:
                fine = ~too_near(found, lowest, self._settings)
                some, found = some[fine], found[fine]
            opinions = np.full(len(some), np.nan, dtype=np.float32)
            if self._judge is not None:
                opinions, stays = self._judge.judge(np.full(len(some), row), self._pool.units[some])
                some, found, opinions = some[stays], found[stays], opinions[stays]
            parts.append((some[:wanted], found[:wanted], opinions[:wanted]))
            wanted -= len(parts[-1][0])
        if not parts:
            nothing = np.empty(0, dtype=np.float32)
            return np.empty(0, dtype=np.int64), nothing, nothing
        targets, scores, judged = (np.concatenate(column) for column in zip(*parts, strict=True))
        return targets, scores, judged

    def _random(self, row: int) -> Random:
        return generator(self._settings.seed, self._pairs.datasets[row], self._pairs.ids[row])
