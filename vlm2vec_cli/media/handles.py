"""Bounded caches of open archives and other things that cost something to open.

A cache drops its least recently used entries. An entry that another thread still uses stays open until that
thread lets go of it: entries close themselves when they are collected, so eviction needs no coordination.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Slot:
    __slots__ = ("filled", "lock", "value", "weight")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.filled = False
        self.value: Any = None
        self.weight = 0


class Cache:
    """Least-recently-used cache of at most `capacity` entries that weigh `max_weight` in all (or one alone).

    Thread-safe; a value is made once however many threads ask for it, and asking for different values does
    not wait for each other. A failure to make one is not remembered.
    """

    def __init__(self, capacity: int, max_weight: int | None = None) -> None:
        self._capacity, self._max_weight = capacity, max_weight
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, key: Hashable, make: Callable[[], T], weigh: Callable[[T], int] = lambda _: 0) -> T:
        """The value under `key`, made when it is not there."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            self._evict()
        with slot.lock:
            if not slot.filled:
                slot.value = make()
                slot.weight, slot.filled = weigh(slot.value), True
                with self._lock:
                    self._evict()
            return cast(T, slot.value)

    def _evict(self) -> None:
        while len(self._slots) > self._capacity:
            self._slots.popitem(last=False)
        if self._max_weight is not None:
            total = sum(slot.weight for slot in self._slots.values())
            while total > self._max_weight and len(self._slots) > 1:
                total -= self._slots.popitem(last=False)[1].weight


class Handles:
    """The caches of one reader in one process.

    archives: indexes of zip and tar files, Parquet footers.  row_groups: decoded Parquet columns, by bytes.
    documents: open PDFs, by the bytes they keep in memory.  digests: content hashes.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.archives = Cache(32)
        self.row_groups = Cache(8, max_weight=256 << 20)
        self.documents = Cache(8, max_weight=256 << 20)
        self.digests = Cache(1 << 16)
