"""Which targets may never be mined for a pair, and by which rule.

`positive` its own positive · `same_query` positives of pairs with the same query · `positive_ids` targets
with an id in common, and where targets are labels those that an id spells · `key` targets with its key ·
`existing` negatives it came with · `same_document` other pages of the documents of all the answers before ·
`near_duplicate` pictures that look like theirs. All of them go by content: a copy of a known positive under
another id is known as well.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from vlm2vec_cli.mining.pairs import DEFAULT_DATASET, Mark, Pairs
from vlm2vec_cli.nearest import Ints

RULES = ("positive", "same_query", "positive_ids", "key", "existing", "same_document", "near_duplicate")
POSITIVE, SAME_QUERY, POSITIVE_IDS, KEY, EXISTING, SAME_DOCUMENT, NEAR_DUPLICATE = range(1, 8)
OF_MARK = {"id": POSITIVE_IDS, "key": KEY}


class Known:
    """What all pairs together say. `keep_existing`: negatives that a pair has stay, and are not mined."""

    def __init__(self, pairs: Pairs, *, keep_existing: bool) -> None:
        self._pairs, self._keep_existing = pairs, keep_existing
        queries = np.array(pairs.query_group, dtype=np.int64)
        answers = np.array(pairs.positive_group, dtype=np.int64)
        both = np.unique(np.stack([queries, answers], axis=1), axis=0)
        self._answers = both[:, 1]
        self._starts = np.searchsorted(both[:, 0], np.arange(queries.max(initial=-1) + 2))

    def rules(self, row: int) -> dict[int, int]:
        """Target group to the first rule that forbids it."""
        pairs = self._pairs
        found = {pairs.positive_group[row]: POSITIVE}
        query = pairs.query_group[row]
        for group in self._answers[self._starts[query] : self._starts[query + 1]].tolist():
            found.setdefault(group, SAME_QUERY)
        for group, rule in self._marked(row):
            found.setdefault(group, rule)
        answers = list(found)
        if self._keep_existing:
            for group in pairs.existing_groups(row):
                found.setdefault(group, EXISTING)
        for answer in answers:
            for mark in pairs.documents.get(answer, ()):
                for group in self._with(mark):
                    found.setdefault(group, SAME_DOCUMENT)
            for group in () if pairs.looks is None else pairs.looks.near(answer):
                found.setdefault(group, NEAR_DUPLICATE)
        return found

    def _marked(self, row: int) -> Iterator[tuple[int, int]]:
        for mark in self._pairs.marks.get(row, ()):
            for group in self._with(mark):
                yield group, OF_MARK[mark[1]]
            label = self._pairs.group_named(mark[2]) if mark[1] == "id" else None
            if label is not None:
                yield label, POSITIVE_IDS

    def _with(self, mark: Mark) -> Iterator[int]:
        """The groups that carry a mark, in its dataset or in what serves all datasets."""
        dataset, kind, name = mark
        for scope in dict.fromkeys((dataset, DEFAULT_DATASET)):
            yield from self._pairs.marked.get((scope, kind, name), ())

    def most_positives(self, rows: Iterable[int]) -> int:
        """The largest number of the given pairs that share a query."""
        shared = np.array([self._pairs.query_group[row] for row in rows], dtype=np.int64)
        return int(np.unique(shared, return_counts=True)[1].max(initial=1))


def verdicts(forbidden: list[dict[int, int]], targets: Ints) -> Ints:
    """The rule (0: none) against each of `targets` (Q, K); `forbidden` has one mapping a row, by target."""
    width = int(targets.max(initial=0)) + 1
    codes, rules = [], []
    for row, one in enumerate(forbidden):
        for target, rule in one.items():
            if target < width:
                codes.append(row * width + target)
                rules.append(rule)
    order = np.argsort(np.array(codes, dtype=np.int64))
    sorted_codes = np.array(codes, dtype=np.int64)[order]
    sorted_rules = np.array(rules, dtype=np.int64)[order]
    wanted = np.arange(len(targets))[:, None] * width + targets
    at = np.searchsorted(sorted_codes, wanted)
    if not len(sorted_codes):
        return np.zeros(targets.shape, dtype=np.int64)
    at = np.minimum(at, len(sorted_codes) - 1)
    return np.where((sorted_codes[at] == wanted) & (targets >= 0), sorted_rules[at], 0)
