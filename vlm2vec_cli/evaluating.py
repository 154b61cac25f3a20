"""Evaluation while training: item rows through the code of `embed` and `score`, one score a dataset."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import orjson

from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.checkpoints import Checkpoint
from vlm2vec_cli.embedding import embed
from vlm2vec_cli.encoder import Encoder, Output
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.scoring.collect import Collector
from vlm2vec_cli.scoring.dataset import Dataset, check, named
from vlm2vec_cli.scoring.evaluate import by_vectors, plan
from vlm2vec_cli.scoring.result import Settings
from vlm2vec_cli.streams.batches import gathered
from vlm2vec_cli.training.world import World

Thing = TypeVar("Thing")


def _fail(error: UserError) -> NoReturn:
    raise error


class Evaluation:
    """Rows to embed and rank, with what is relevant; memory: the rows, and at each call their vectors.

    Raises DataError for rows that `score` would refuse whatever their vectors are.
    """

    def __init__(self, records: Iterable[Record], media: MediaReader) -> None:
        self._records = list(records)
        self._media = media
        if not any(record.row["role"] == "query" and record.row.get("relevant") for record in self._records):
            raise DataError("no query with relevant candidates to evaluate on", place="--eval")
        collector = Collector(_fail, vectors=False)
        collector.add(gathered(self._records))
        datasets = [one for one in collector.datasets.values() if one.query_ids]
        for dataset in datasets:
            _check(dataset)
        plan(datasets, Settings(resamples=0))
        digest = hashlib.sha256()
        for record in self._records:
            digest.update(orjson.dumps(record.row, option=orjson.OPT_SORT_KEYS))
        self.digest = digest.hexdigest()

    def __call__(self, backbone: Backbone, world: World) -> dict[str, float]:
        """The main score of each dataset, 0 to 1. Every process embeds its share; the first one scores.

        An error of one is raised on all.
        """
        with tempfile.TemporaryDirectory() as empty:  # a model in training has no files to be known by
            unnamed = Checkpoint("in training", Path(empty), Path(empty))
            loaded = Encoder(backbone, unnamed, self._media, Output())
        own = [
            Record(dict(one.row), one.origin, one.number) for one in self._records[world.rank :: world.size]
        ]
        vectors, failed = [], None
        try:
            vectors = [row["embedding"] for row in embed(own, loaded, _fail)]
        except UserError as error:
            if world.ended:
                raise
            failed = error
        world.keep_pace()
        parts = _agreed(world, vectors, failed)
        scores: dict[str, float] = {}
        if world.leads:
            try:
                scores = self._scores(parts)
            except UserError as error:
                failed = error
        return _agreed(world, scores, failed)[0]

    def _scores(self, parts: list[list[Any]]) -> dict[str, float]:
        """`parts` are the vectors that each process made."""
        scores: dict[str, float] = {}
        collector = Collector(_fail)
        collector.add(
            gathered(
                Record(
                    {**one.row, "embedding": parts[at % len(parts)][at // len(parts)]}, one.origin, one.number
                )
                for at, one in enumerate(self._records)
            )
        )
        for task in plan(check(collector.datasets.values()), settings := Settings(resamples=0)):
            scores[task.dataset.name] = float(by_vectors(task, settings).row()["main_score"])
            for matrix in (task.dataset.query_vectors, task.dataset.candidate_vectors):
                if matrix is not None:
                    matrix.close()
        return scores


def _agreed(world: World, thing: Thing, failed: UserError | None) -> list[Thing]:
    """What every process has; the first error that one has is raised on all."""
    told = world.gather((thing, failed))
    for _, error in told:
        if error is not None:
            raise error
    return [one for one, _ in told]


def _check(dataset: Dataset) -> None:
    """Raises DataError where a judgement or a pool names no candidate, or nothing is relevant at all."""
    if not any(dataset.relevant):
        raise dataset.error("no query has a relevant candidate")
    for place, gains, pool in zip(dataset.query_places, dataset.relevant, dataset.pools, strict=True):
        numbers = [*gains, *(() if pool is None else pool.tolist())]
        missing = dict.fromkeys(one for one in numbers if one not in dataset.candidate_rows)
        if missing:
            raise dataset.error(
                f"no row for {named('candidate', [dataset.ids[one] for one in missing])}",
                place=place,
                hint="pools and relevant may name only candidates of the same dataset",
            )
