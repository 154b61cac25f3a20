"""Digests that say whether two scores are of the same evaluation.

`data_digest`: ids of queries and candidates, judgements, pools. `text_digest`: the texts and instructions
that the model was given. Neither depends on the order of rows; media are not looked into.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from vlm2vec_cli.scoring.collect import Dataset

WORD: Final = 1 << 64


def of(dataset: "Dataset") -> dict[str, str]:
    """The digests of a dataset with vectors, 16 hexadecimal digits each; without texts only the first."""
    if dataset.candidate_vectors is None:
        return {}
    names = np.array([_hash(name) for name in dataset.ids], np.uint64)
    total = _hash("candidates", str(int(names[list(dataset.candidate_rows)].sum())))
    for query, pool, gains in zip(dataset.query_ids, dataset.pools, dataset.relevant, strict=True):
        judged = [f"{dataset.ids[number]}\0{gain:g}" for number, gain in gains.items()]
        listed = "" if pool is None else f"{len(pool)} {int(names[pool].sum())}"
        total += _hash("query", query, listed, *sorted(judged))
    found = {"data_digest": f"{total % WORD:016x}"}
    return found | ({"text_digest": f"{dataset.texts % WORD:016x}"} if dataset.texts else {})


def of_text(role: str, row: Mapping[str, Any]) -> int:
    """A row's part of the digest of texts, which is their sum; 0 for a row without any."""
    text, instruction = row.get("text"), row.get("instruction")
    if text is None and instruction is None:
        return 0
    return _hash(role, row["id"], instruction or "", text or "")


def _hash(*parts: str) -> int:
    data = "\0".join(parts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
