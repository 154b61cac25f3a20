"""Digests that say whether two scores are of the same evaluation.

`judgement_digest`: ids of queries with something relevant, and what that is. `data_digest`: these and all
other queries, candidates, pools. `text_digest`: the texts and instructions that the model was given. None
depends on the order of rows; media are not looked into.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlm2vec_cli.scoring.dataset import Dataset
    from vlm2vec_cli.streams.batches import Batch

WORD: Final = 1 << 64


def of(dataset: "Dataset") -> dict[str, str]:
    """The digests of a dataset, 16 hexadecimal digits each.

    Only with candidates that of the data, and only with vectors that of the texts, where there are any.
    """
    judged = sum(
        _hash("judgements", query, *_judged(dataset, gains))
        for query, gains in zip(dataset.query_ids, dataset.relevant, strict=True)
        if gains
    )
    found = {"judgement_digest": f"{judged % WORD:016x}"}
    if dataset.candidate_rows:
        found["data_digest"] = _of_data(dataset)
    if dataset.candidate_vectors is not None and dataset.texts:
        found["text_digest"] = f"{dataset.texts % WORD:016x}"
    return found


def _of_data(dataset: "Dataset") -> str:
    names = np.array([_hash(name) for name in dataset.ids], np.uint64)
    total = _hash("candidates", str(int(names[list(dataset.candidate_rows)].sum())))
    for query, pool, gains in zip(dataset.query_ids, dataset.pools, dataset.relevant, strict=True):
        listed = "" if pool is None else f"{len(pool)} {int(names[pool].sum())}"
        total += _hash("query", query, listed, *_judged(dataset, gains))
    return f"{total % WORD:016x}"


def _judged(dataset: "Dataset", gains: "Mapping[int, float]") -> list[str]:
    return sorted(f"{dataset.ids[number]}\0{gain:g}" for number, gain in gains.items())


def of_texts(role: str, rows: "Batch") -> int:
    """The rows' part of the digest of texts, which is their sum; 0 for rows without any."""
    texts, instructions = rows.column("text"), rows.column("instruction")
    return sum(
        _hash(role, id, instruction or "", text or "")
        for id, instruction, text in zip(rows.column("id"), instructions, texts, strict=True)
        if text is not None or instruction is not None
    )


def _hash(*parts: str) -> int:
    data = "\0".join(parts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
