"""Random targets for a pair, the same ones for the same seed, dataset and id."""

from collections.abc import Iterator
from random import Random


def generator(seed: int, dataset: str, id: str) -> Random:
    """The pair's own source of chance: independent of what other pairs are in the stream."""
    return Random(f"{seed}\n{dataset}\n{id}")


def draws(random: Random, count: int) -> Iterator[int]:
    """0..count-1 in random order, each once; only what is taken costs something (a lazy Fisher-Yates)."""
    moved: dict[int, int] = {}
    for place in range(count):
        chosen = random.randrange(place, count)
        yield moved.get(chosen, chosen)
        moved[chosen] = moved.pop(place, place)
