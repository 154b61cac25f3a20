"""The kinds of rows that flow between the commands, a file each; `base` holds what they share."""

import json

from vlm2vec_cli.schemas.base import Kind
from vlm2vec_cli.schemas.event import EVENT
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.schemas.ranking import RANKING
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.schemas.vector import VECTOR

KINDS = (ITEM, PAIR, EVENT, VECTOR, RANKING, SCORE)


def document(kind: Kind) -> str:
    """The JSON Schema file of a kind, as `python -m vlm2vec_cli.schemas` writes it."""
    return json.dumps(kind.json_schema(), indent=2, ensure_ascii=False) + "\n"
