"""The targets that some pairs may be given: those of their dataset, or all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining.known import Known
from vlm2vec_cli.mining.pairs import DEFAULT_DATASET, Offers, Pairs
from vlm2vec_cli.nearest import Ints


@dataclass(frozen=True)
class Pool:
    """Pairs and their targets: distinct groups in the order that settles ties.

    `rows` (R,) are numbers of pairs, `units` (N,) the targets' contents, `offers` (N,) where they were
    offered (-1: only in a list of neighbours); `at` is the place of a group. The first `num_drawable` targets
    are what is drawn from at random. `num_offers` counts the targets before copies fell together.
    """

    name: str
    rows: Ints
    units: Ints
    offers: Ints
    at: dict[int, int]
    num_drawable: int
    num_offers: int

    def __len__(self) -> int:
        return len(self.units)

    def forbidden(self, known: Known, row: int) -> dict[int, int]:
        """Place in the pool to the rule that forbids it for a pair."""
        rules = known.rules(row)
        return {self.at[group]: rule for group, rule in rules.items() if group in self.at}


def pools(pairs: Pairs, offers: Offers, *, across_datasets: bool) -> Iterator[Pool]:
    """One pool a dataset, in order of appearance, or one for all.

    Corpus rows of the dataset "default" serve every dataset. Where offers of role candidate are among them,
    those of role query are left out.
    """
    rows: dict[str, list[int]] = {}
    for row in pairs.living():
        rows.setdefault("" if across_datasets else pairs.datasets[row], []).append(row)
    has_candidates = not all(offers.queries)
    by_dataset: dict[str, list[int]] = {}
    for one, is_query in enumerate(offers.queries):
        if not (is_query and has_candidates):
            by_dataset.setdefault("" if across_datasets else offers.datasets[one], []).append(one)
    for name, members in rows.items():
        own = by_dataset.get(name, [])
        shared = by_dataset.get(DEFAULT_DATASET, []) if offers.from_corpus and name != DEFAULT_DATASET else []
        yield _pool(name or "all", members, own + shared, pairs, offers)


def _pool(name: str, rows: Sequence[int], offered: Sequence[int], pairs: Pairs, offers: Offers) -> Pool:
    first: dict[int, int] = {}
    for one in offered:
        first.setdefault(offers.groups[one], one)

    labels, datasets, ids = pairs.labels, offers.datasets, offers.ids
    keyed: list[tuple[str, str, int]] = (
        [(labels[group], "", one) for group, one in first.items()]
        if labels
        else [(datasets[one], ids[one], one) for one in first.values()]
    )
    chosen = [one for _, _, one in sorted(keyed)]
    units = [offers.units[one] for one in chosen]
    _check_roots(name, rows, units, pairs)
    return Pool(
        name,
        np.array(rows, dtype=np.int64),
        np.array(units, dtype=np.int64),
        np.array(chosen, dtype=np.int64),
        {offers.groups[one]: place for place, one in enumerate(chosen)},
        len(chosen),
        len(offered),
    )


def _check_roots(name: str, rows: Sequence[int], units: Sequence[int], pairs: Pairs) -> None:
    """A mined reference must mean in its new row what it meant in its own."""
    of_targets = {root for unit in units if (root := pairs.targets.root(unit)) is not None}
    if not of_targets:
        return
    roots = sorted(of_targets | {pairs.root(row) for row in rows})
    if len(roots) > 1:
        raise DataError(
            f"media of {name} are resolved against {roots[0]} and {roots[1]}, so a negative's would be lost",
            hint="--media-root DIR, with references that start from one folder",
        )
