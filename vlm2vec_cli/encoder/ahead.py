"""Work done by threads ahead of whoever needs it, bounded in number and in size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from vlm2vec_cli.errors import UserError

Thing = TypeVar("Thing")
Result = TypeVar("Result")


class Ended(NamedTuple):
    """There is nothing more: the end, or the error that the things ended with."""

    error: UserError | None


class Ahead(Generic[Thing, Result]):
    """`work` of each thing, in order.

    Things are taken and given to threads by `next` and `top_up`, which the caller calls between pieces of
    its own work: as many as cost about `budget` together, judged by the results seen so far, at most `most`
    and at least `least`; `first` of them while there is no result. Without a pool `next` does the work
    itself. `waited` counts the seconds in which `next` found its result not ready.
    """

    def __init__(
        self,
        things: Iterable[Thing],
        work: Callable[[Thing], Result],
        cost: Callable[[Result], int],
        pool: ThreadPoolExecutor | None,
        *,
        budget: int,
        first: int,
        least: int,
        most: int,
    ) -> None:
        self.budget = budget
        self.waited = 0.0
        self._things = iter(things)
        self._work = work
        self._cost = cost
        self._pool = pool
        self._first = first
        self._least = least
        self._most = most
        self._waiting: deque[Future[Result]] = deque()
        self._done = 0
        self._spent = 0
        self._ended: Ended | None = None

    def top_up(self) -> None:
        """Gives threads as much work as is allowed."""
        if self._pool is None:
            return
        while self._ended is None and len(self._waiting) < self._depth():
            thing = self._take()
            if not isinstance(thing, Ended):
                self._waiting.append(self._pool.submit(self._work, thing))

    def next(self) -> Result | Ended:
        """The next result; after the last one, and from then on, Ended."""
        self.top_up()
        start = time.perf_counter()
        if self._waiting:
            result = self._waiting.popleft().result()
        else:
            thing = self._ended or self._take()
            if isinstance(thing, Ended):
                return thing
            result = self._work(thing)
        self.waited += time.perf_counter() - start
        self._done += 1
        self._spent += self._cost(result)
        return result

    def _take(self) -> Thing | Ended:
        try:
            return next(self._things)
        except StopIteration:
            self._ended = Ended(None)
        except UserError as error:
            self._ended = Ended(error)
        return self._ended

    def _depth(self) -> int:
        if not self._spent:
            return self._first
        return min(self._most, max(self._least, self.budget * self._done // self._spent))
