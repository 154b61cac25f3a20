"""How many threads numpy's matrix products may use, and one for each where parts run side by side."""

import contextlib
import os
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def most() -> int:
    """The threads of a product, as the environment sets them; all processors where BLAS does not say."""
    found = [library.num_threads for library in _blas().lib_controllers]
    return max(found, default=os.cpu_count() or 1)


def one_each(num_parts: int) -> contextlib.AbstractContextManager[object]:
    """Inside, products of several parts have one thread; a single part keeps them all."""
    if num_parts == 1:
        return contextlib.nullcontext()
    limit: contextlib.AbstractContextManager[object] = _blas().limit(limits=1)
    return limit
