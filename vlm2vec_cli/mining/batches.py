"""An order of pairs in which each N in a row are near each other: batches of hard in-batch negatives.

As in B3 (Thirukovalluru et al. 2025) the candidates that a method leaves link pairs in a graph, which is cut
into clusters of N. The cut is greedy: a cluster starts with the first pair left and takes the pair with the
most links to it. A pair whose query or positive is there already, which would be no negative, waits.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from vlm2vec_cli.nearest import Ints

LOOKED_THROUGH = 4  # times the size of a batch: pairs without a link that may fill it

Links = list[dict[int, float]]


def batches(queries: Sequence[int], answers: Sequence[int], links: Links, size: int) -> Iterator[list[int]]:
    """The pairs 0..n-1 in lists of `size`, the last one shorter; equal input gives equal lists.

    `queries` and `answers` (n,) are the groups of each pair's query and positive, `links` those of `linked`.
    """
    left = bytearray(b"\1") * len(links)
    waiting = deque(range(len(links)))
    while waiting:
        batch: list[int] = []
        taken: tuple[set[int], set[int]] = (set(), set())
        pull: dict[int, float] = {}
        heap: list[tuple[float, int]] = []

        def fits(pair: int, taken: tuple[set[int], set[int]] = taken) -> bool:
            return bool(left[pair]) and queries[pair] not in taken[0] and answers[pair] not in taken[1]

        while len(batch) < size:
            pair = _nearest(heap)
            if pair is None:
                while waiting and not left[waiting[0]]:
                    waiting.popleft()
                if not waiting:
                    break
                near = islice(waiting, LOOKED_THROUGH * size)
                pair = next((one for one in near if fits(one)), waiting[0])
            elif not fits(pair):
                continue
            left[pair] = False
            batch.append(pair)
            taken[0].add(queries[pair])
            taken[1].add(answers[pair])
            for other, weight in links[pair].items():
                if left[other]:
                    pull[other] = pull.get(other, 0.0) + weight
                    heapq.heappush(heap, (-pull[other], other))
        if batch:
            yield batch


def _nearest(heap: list[tuple[float, int]]) -> int | None:
    return heapq.heappop(heap)[1] if heap else None


def linked(rows: Sequence[int], answers: Sequence[int], edges: Iterable[tuple[Ints, Ints]]) -> Links:
    """For the pairs `rows`, by place: the places each is linked to, and 1 / rank, both directions added.

    A candidate that is the positive of several pairs links to one of them, to another one each time.
    """
    place = {row: at for at, row in enumerate(rows)}
    owners: dict[int, list[int]] = {}
    for at, answer in enumerate(answers):
        owners.setdefault(answer, []).append(at)
    turns = dict.fromkeys(owners, 0)
    links: Links = [{} for _ in rows]
    for pairs, groups in edges:
        if not np.isin(pairs, rows).any():
            continue
        rank, last = 0, -1
        for row, group in zip(pairs.tolist(), groups.tolist(), strict=True):
            rank, last = (rank + 1 if row == last else 1), row
            own = place.get(row)
            if own is None or group not in owners:
                continue
            other = owners[group][turns[group] % len(owners[group])]
            turns[group] += 1
            for one, two in ((own, other), (other, own)):
                links[one][two] = links[one].get(two, 0.0) + 1 / rank
    return links
