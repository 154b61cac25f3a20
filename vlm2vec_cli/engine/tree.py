"""Equal beginnings of sequences, computed once: the prefix tree of a batch.

A causal decoder's state at a token depends on that token and the ones before it. Sequences that begin alike
therefore share those states: the tree holds every shared beginning once, as a segment that the segments after
it continue. Sequences are arrays of integers in which equal numbers mean equal input; `packing` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

# A beginning becomes a segment of its own where it is this long and saves this many tokens: each segment
# costs the attention a few calls.
_LEAST_LENGTH = 4
_LEAST_SAVED = 16


class Tree(NamedTuple):
    """Segments in an order in which every parent stands before its children."""

    lengths: tuple[int, ...]  # tokens of each segment
    parents: tuple[int, ...]  # the segment that it continues; -1 begins a sequence
    take: Ids  # (T,) the token of the concatenated sequences that each token of the segments is
    last: Ids  # (sequences,) where each sequence's last token stands among the T


def common(left: Ids, right: Ids) -> int:
    """The number of equal leading elements."""
    length = min(len(left), len(right))
    different = left[:length] != right[:length]
    return int(different.argmax()) if different.any() else length


def flat(lengths: Sequence[int]) -> Tree:
    """Nothing shared: each sequence is a segment."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return Tree(tuple(lengths), (-1,) * len(lengths), np.arange(ends[-1]), ends - 1)


def build(sequences: Sequence[Ids]) -> Tree:
    """The prefix tree of sequences that are not empty, in any order; equal ones share everything."""
    order = sorted(range(len(sequences)), key=lambda row: sequences[row].tobytes())
    shared = [common(sequences[before], sequences[row]) for before, row in pairwise(order)]
    if not any(length >= _LEAST_LENGTH for length in shared):
        return flat([len(one) for one in sequences])
    # A sequence that the next one begins with needs no segment: its last token is one of the next one's.
    holder = list(range(len(sequences)))
    leaves, depths = [order[-1]], list[int]()
    for at in range(len(order) - 2, -1, -1):
        row, after = order[at], order[at + 1]
        if shared[at] == len(sequences[row]):
            holder[row] = holder[after]
        else:
            leaves.append(row)
            depths.append(shared[at])
    leaves.reverse()
    depths.reverse()
    segments = _cut([len(sequences[row]) for row in leaves], depths)
    return _laid_out(sequences, leaves, holder, segments)


class _Segment(NamedTuple):
    leaf: int  # one of the sequences it belongs to, as a position in the sorted leaves
    start: int
    end: int
    parent: int


def _cut(lengths: Sequence[int], depths: Sequence[int]) -> list[_Segment]:
    """Segments of sorted leaves, `depths[i]` being what leaf i shares with leaf i + 1; parents first."""
    segments: list[_Segment] = []
    waiting = [(0, len(lengths), 0, -1)]
    while waiting:
        low, high, start, parent = waiting.pop()
        if high - low == 1:
            segments.append(_Segment(low, start, lengths[low], parent))
            continue
        depth = min(depths[low : high - 1])
        borders = [low, *(at + 1 for at in range(low, high - 1) if depths[at] == depth), high]
        length = depth - start
        if length >= _LEAST_LENGTH and length * (len(borders) - 2) >= _LEAST_SAVED:
            segments.append(_Segment(low, start, depth, parent))
            start, parent = depth, len(segments) - 1
        waiting += [
            (first, end, start, parent) for first, end in zip(borders[-2::-1], borders[:0:-1], strict=True)
        ]
    return segments


def _laid_out(
    sequences: Sequence[Ids], leaves: Sequence[int], holder: Sequence[int], segments: Sequence[_Segment]
) -> Tree:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])])
    take = [
        np.arange(offsets[leaves[one.leaf]] + one.start, offsets[leaves[one.leaf]] + one.end)
        for one in segments
    ]
    places = np.concatenate([[0], np.cumsum([one.end - one.start for one in segments])])
    # Of the segments that name a leaf its own comes last.
    final = {leaves[one.leaf]: number for number, one in enumerate(segments)}
    last = np.empty(len(sequences), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        number = final[holder[row]]
        while segments[number].start >= len(sequence):
            number = segments[number].parent
        last[row] = places[number] + len(sequence) - 1 - segments[number].start
    return Tree(
        tuple(one.end - one.start for one in segments),
        tuple(one.parent for one in segments),
        np.concatenate(take),
        last,
    )
