"""What stands in one block: rows mined together, and equal positives apart.

Both keep each row exactly once and draw nothing: the order they are given decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def together(order: Ints, mined: Ints, block: int) -> Ints:
    """(n,) rows in an order whose blocks are made of rows of one mined batch, as far as these fill blocks.

    `mined` (n,) is the batch of each row; a row below 0 has none. What is left of a batch that is no multiple
    of `block` follows behind all whole blocks, batch after batch, so that smaller batches share a block.
    """
    own = np.where(mined >= 0, mined, mined.max() + 1 + np.arange(len(mined)))
    _, first, batch, sizes = np.unique(own, return_index=True, return_inverse=True, return_counts=True)
    by_batch = np.argsort(first[batch], kind="stable")  # batches in the order in which they appear
    starts = np.concatenate([[0], np.cumsum(sizes[np.argsort(first)])])
    place = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    is_left = place >= np.repeat(np.diff(starts) // block * block, np.diff(starts))
    return order[by_batch[np.argsort(is_left, kind="stable")]]


def apart(blocks_KB: Ints, positives_KB: Ints) -> Ints:
    """The rows of K blocks of B, so that no block has an equal positive more often than it must.

    A positive that c rows have stands in each block c / K times, rounded up or down. Blocks that have none
    twice stay as they are; else rows with equal positives are dealt out to the blocks one after the other.
    """
    number, size = blocks_KB.shape
    ranked = np.sort(positives_KB, axis=1)
    if number < 2 or not (ranked[:, 1:] == ranked[:, :-1]).any():
        return blocks_KB
    _, first, code = np.unique(positives_KB, return_index=True, return_inverse=True)
    dealt = np.argsort(first[code.ravel()], kind="stable")  # by the first appearance of a row's positive
    out_KB: Ints = blocks_KB.ravel()[dealt].reshape(size, number).T
    return out_KB
