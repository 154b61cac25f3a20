"""Evaluation while training: item rows through the code of `embed` and `score`, one score a dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.checkpoints import Checkpoint
from vlm2vec_cli.embedding import embed
from vlm2vec_cli.encoder import Encoder, Output
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.scoring.collect import Collector, check
from vlm2vec_cli.scoring.evaluate import by_vectors, plan
from vlm2vec_cli.scoring.result import Settings
from vlm2vec_cli.streams.batches import gathered
from vlm2vec_cli.training.world import World


def _fail(error: UserError) -> NoReturn:
    raise error


class Evaluation:
    """Rows to embed and rank, with what is relevant; memory: the rows, and at each call their vectors."""

    def __init__(self, records: Iterable[Record], media: MediaReader) -> None:
        self._records = list(records)
        self._media = media
        if not any(record.row["role"] == "query" and record.row.get("relevant") for record in self._records):
            raise DataError("no query with relevant candidates to evaluate on", place="--eval")

    def __call__(self, backbone: Backbone, world: World) -> dict[str, float]:
        """The main score of each dataset, 0 to 1. Every process embeds its share; the first one scores."""
        with tempfile.TemporaryDirectory() as empty:  # a model in training has no files to be known by
            unnamed = Checkpoint("in training", Path(empty), Path(empty))
            loaded = Encoder(backbone, unnamed, self._media, Output())
        own = [
            Record(dict(one.row), one.origin, one.number) for one in self._records[world.rank :: world.size]
        ]
        vectors = [row["embedding"] for row in embed(own, loaded, _fail)]
        world.keep_pace()
        parts = world.gather(vectors)
        scores: dict[str, float] = {}
        if world.leads:
            collector = Collector(_fail)
            collector.add(
                gathered(
                    Record(
                        {**one.row, "embedding": parts[at % world.size][at // world.size]},
                        one.origin,
                        one.number,
                    )
                    for at, one in enumerate(self._records)
                )
            )
            for task in plan(check(collector.datasets.values()), settings := Settings(resamples=0)):
                scores[task.dataset.name] = float(by_vectors(task, settings).row()["main_score"])
                for matrix in (task.dataset.query_vectors, task.dataset.candidate_vectors):
                    if matrix is not None:
                        matrix.close()
        return world.gather(scores)[0]
