"""vector: an item with its embedding and the fingerprint of whatever made it.

In Parquet `model`, `revision`, `fingerprint` and `precision` are file metadata; read back they
are fields again.
"""

from typing import TYPE_CHECKING

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas import item
from vlm2vec_cli.schemas.base import Field, Kind, Row
from vlm2vec_cli.schemas.item import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Vector(Item, total=False):
    """A row of the kind vector; the embedding is a 1-D float32 array (int8 and uint8 where stored so)."""

    embedding: "NDArray[np.float32]"
    model: str
    revision: str
    fingerprint: str
    precision: str


FIELDS = (
    *item.FIELDS,
    Field("embedding", "embedding", "The vector, the same dimension in every row.", required=True),
    Field("model", "string", "The model that made the vector."),
    Field("revision", "string", "The model's revision."),
    Field("fingerprint", "string", "Hash of all that decides the vector; different ones do not compare."),
    Field("precision", "precision", "How the numbers are stored; float32 where it is absent."),
)

STORED = {"int8": "int8", "binary": "uint8"}


def _check(row: Row) -> None:
    stored = STORED.get(row.get("precision", "float32"))
    if stored is not None and row["embedding"].dtype != stored:
        exact = row["embedding"].astype(stored)
        if (exact != row["embedding"]).any():
            raise DataError(f"embedding: expected {stored} numbers")
        row["embedding"] = exact


VECTOR = Kind(
    "vector",
    "An item with its embedding.",
    FIELDS,
    check=_check,
    file_fields=("model", "revision", "fingerprint", "precision"),
)
