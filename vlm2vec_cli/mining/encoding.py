"""Vectors of units made by a model. Apart from `vectors`, because it loads the model libraries."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from vlm2vec_cli.encoder import Encoder, Input
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.mining.cache import Cache
from vlm2vec_cli.mining.vectors import Side
from vlm2vec_cli.progress import bar


def encode(
    side: Side,
    units: Sequence[int],
    *,
    encoder: Encoder,
    refuse: Callable[[UserError], None],
    cache: Cache | None = None,
    quiet: bool = False,
) -> None:
    """Gives those of `units` that have no vector theirs.

    `refuse` is told of each content that cannot be encoded at once and may raise; the error is kept in
    `side.errors` too.
    """
    own, refused = side.units, deque[UserError]()

    def take(error: UserError) -> None:
        refuse(error)
        refused.append(error)

    def inputs(wanted: Iterable[int]) -> Iterator[Input]:
        for unit in wanted:
            yield Input(own.content(unit), own.media_root(unit), own.place(unit))

    missing = [unit for unit in units if side.rows[unit] < 0 and unit not in side.errors]
    names: dict[int, bytes] = {}
    if cache is not None:
        missing = list(_not_kept(side, missing, cache, names))
    if not missing:
        return
    shown = bar(missing, label=f"embed {side.role} side", unit="content", total=len(missing), quiet=quiet)
    for unit, vector in zip(missing, encoder.encode(inputs(shown), take), strict=True):
        if vector is None:
            side.errors[unit] = refused.popleft()
            continue
        side.put_one(unit, vector, own.place(unit))
        if cache is not None and unit in names:
            cache.put(names[unit], vector)
    if cache is not None:
        cache.write()


def _not_kept(side: Side, units: Iterable[int], cache: Cache, names: dict[int, bytes]) -> Iterator[int]:
    """The units that the cache has no vector of; it fills in the others, and the `names` of these."""
    for unit in units:
        name = cache.name(side.units.content(unit), side.units.media_root(unit))
        vector = None if name is None else cache.get(name)
        if vector is not None:
            side.put_one(unit, vector, side.units.place(unit))
            continue
        if name is not None:
            names[unit] = name
        yield unit
