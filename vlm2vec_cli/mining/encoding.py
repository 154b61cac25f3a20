"""Vectors of units made by a model. Apart from `vectors`, because it loads the model libraries."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from vlm2vec_cli.encoder import Encoder, Input
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.mining.vectors import Side
from vlm2vec_cli.progress import bar


def encode(side: Side, encoder: Encoder, refuse: Callable[[UserError], None], *, quiet: bool = False) -> None:
    """Gives every unit of `side` that has none its vector.

    `refuse` is told of each content that cannot be encoded at once and may raise; the error is kept in
    `side.errors` too.
    """
    units = side.units
    refused: deque[UserError] = deque()

    def take(error: UserError) -> None:
        refuse(error)
        refused.append(error)

    def inputs(wanted: Iterable[int]) -> Iterator[Input]:
        for unit in wanted:
            yield Input(units.content(unit), units.media_root(unit), units.place(unit))

    missing = side.missing()
    shown = bar(missing, label=f"embed {side.role} side", unit="content", total=len(missing), quiet=quiet)
    for unit, vector in zip(missing, encoder.encode(inputs(shown), take), strict=True):
        if vector is None:
            side.errors[unit] = refused.popleft()
        else:
            side.put(unit, vector, units.place(unit))
