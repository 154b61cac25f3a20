import threading
import time

import pytest

from vlm2vec_cli.media.handles import Cache


def test_a_value_is_made_once_however_many_threads_ask() -> None:
    cache, made = Cache(4), []

    def make() -> int:
        time.sleep(0.02)
        made.append(1)
        return 7

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(cache.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results, made) == ([7] * 8, [1])


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key=key: key.upper())  # type: ignore[misc]
    assert cache.get("a", lambda: "made again") == "A"
    assert cache.get("b", lambda: "made again") == "made again"


def test_weight_is_bounded_but_the_newest_always_fits() -> None:
    cache = Cache(100, max_weight=10)
    for key in range(6):
        cache.get(key, lambda: "x" * 4, len)
    assert len(cache) == 2
    cache.get("big", lambda: "x" * 1000, len)
    assert len(cache) == 1
    assert len(cache.get("big", lambda: "gone", len)) == 1000


def test_a_failure_is_not_remembered() -> None:
    cache = Cache(2)

    def fail() -> int:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        cache.get("key", fail)
    assert cache.get("key", lambda: 3) == 3
