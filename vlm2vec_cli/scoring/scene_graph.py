"""Recall of relations: what a scene graph is judged by.

Queries are ordered pairs of objects, `image_id` names their picture; candidates are predicates. All triples
(pair, predicate) of a picture are ranked together by their scores, and the first K are compared with its
relations, which are its pairs' relevant predicates: several of one pair count one by one.
Candidate rows may say that they are `novel`.

At any K, where none is asked for at 20, 50 and 100:

    sgg_recall@K        relations found / relations, over all pictures together
    sgg_image_recall@K  the share found in each picture, mean over pictures that have relations
    sgg_mean_recall@K   the share found of each predicate, mean over predicates that occur

These let a pair have one triple, its best ("graph constraint"); `sgg_ng_...` let it have all. Names that end
in `_novel` and `_base` look only at the relations of the predicates in a list, and of the others.
Source: Lu et al. 2016, Visual relationship detection with language priors (Recall@K); Zellers et al. 2018,
Neural motifs (graph constraint); Tang et al. 2019, Learning to compose dynamic tree structures (mean
recall). Nothing is cut before it is ranked, and candidates that are to be ignored go first.

X triples, I pictures, P predicates that occur, B resamples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.scoring import bootstrap
from vlm2vec_cli.scoring.corpus import Block, by_id
from vlm2vec_cli.scoring.dataset import Dataset
from vlm2vec_cli.scoring.predicates import KINDS, PARTS, SceneGraph, check_predicates
from vlm2vec_cli.scoring.result import Overall, Settings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Triples:
    """Ranked triples, in the order of their pictures and there best first."""

    image_X: Ints
    predicate_X: Ints  # where the triple is a relation its predicate, else -1
    best_X: NDArray[np.bool_]  # the best triple of its pair


def measure(
    graph: SceneGraph, dataset: Dataset, blocks: Iterator[Block], settings: Settings
) -> dict[str, Overall]:
    """All metrics, the main one first. `blocks` rank all predicates of every query, numbers of the dataset.

    DataError for queries without a picture, for rankings without scores, and where there is no relation.
    """
    nameless = [query for query, image in zip(dataset.query_ids, dataset.images, strict=True) if not image]
    if nameless:
        raise dataset.error(
            f"query {nameless[0]!r} names no picture",
            place=dataset.query_places[dataset.query_ids[nameless[0]]],
            hint="--scene-graph needs `image_id` in every query row",
        )
    check_predicates(graph, dataset)
    images, image_Q = np.unique(np.array(dataset.images), return_inverse=True)
    predicate_of, total_IP = _relations(graph, dataset, image_Q, len(images))
    triples = _ranked(graph, dataset, blocks, image_Q, predicate_of, settings)
    novel = graph.numbers(dataset)
    novel_P = np.array([one in novel for one in predicate_of], bool)
    masks = {"": np.ones_like(novel_P), "_base": ~novel_P, "_novel": novel_P}
    rng = bootstrap.generator(settings.seed, dataset.name)
    times_BI = _draws(len(images), settings.resamples, rng)
    found: dict[str, Overall] = {}
    for way, only_best in (("", True), ("ng_", False)):
        for k in graph.cutoffs:
            found_IP = _found(triples, k, total_IP.shape, only_best=only_best)
            for part in PARTS if novel else PARTS[:1]:
                share = {"total": total_IP[:, masks[part]], "found": found_IP[:, masks[part]]}
                for kind in KINDS if share["total"].any() else ():
                    found[f"sgg_{way}{kind}{part}@{k}"] = _overall(kind, times_BI=times_BI, **share)
    for name in (graph.main, *graph.wanted):
        if name not in found:
            raise dataset.error(f"no relation to compute {name} from")
    return {name: found[name] for name in dict.fromkeys((graph.main, *(graph.wanted or found)))}


def _relations(
    graph: SceneGraph, dataset: Dataset, image_Q: Ints, num_images: int
) -> tuple[dict[int, int], Ints]:
    """Candidate number -> column, for predicates that occur; relations of each picture and predicate."""
    pairs = [
        (image, number)
        for image, gains in zip(image_Q.tolist(), dataset.relevant, strict=True)
        for number in gains
        if dataset.ids[number] not in graph.ignored
    ]
    occurring = sorted({number for _, number in pairs}, key=dataset.ids.__getitem__)
    predicate_of = {number: column for column, number in enumerate(occurring)}
    total_IP = np.zeros((num_images, len(occurring)), np.int64)
    for image, number in pairs:
        total_IP[image, predicate_of[number]] += 1
    return predicate_of, total_IP


def _ranked(
    graph: SceneGraph,
    dataset: Dataset,
    blocks: Iterator[Block],
    image_Q: Ints,
    predicate_of: Mapping[int, int],
    settings: Settings,
) -> _Triples:
    """Equal scores of different pairs stand by the pair's id, descending, unless `ties` says otherwise."""
    ignored_N = np.array([one in graph.ignored for one in dataset.ids], bool)
    key_X = np.array(
        [
            query * len(dataset.ids) + number
            for query, gains in enumerate(dataset.relevant)
            for number in gains
            if number in predicate_of
        ],
        np.int64,
    )
    key_X.sort()
    column_N = np.full(len(dataset.ids), -1, np.int64)
    column_N[list(predicate_of)] = list(predicate_of.values())
    parts: list[tuple[Ints, NDArray[np.float32], Ints, NDArray[np.bool_]]] = []
    for block in blocks:
        ranked_QR = (block.index_QR >= 0) & ~ignored_N[block.index_QR]
        row_X, rank_X = np.nonzero(ranked_QR)
        number_X, query_X = block.index_QR[row_X, rank_X], block.query_Q[row_X]
        key_here_X = query_X * len(dataset.ids) + number_X
        place_X = np.minimum(np.searchsorted(key_X, key_here_X), max(len(key_X) - 1, 0))
        hit_X = (key_X[place_X] == key_here_X) if len(key_X) else np.zeros(len(row_X), bool)
        best_X = np.diff(row_X, prepend=-1) > 0
        score_X = block.score_QR[row_X, rank_X]
        if np.isnan(score_X).any():
            raise dataset.error("rankings without scores cannot be put together for a picture")
        parts.append((query_X, score_X, np.where(hit_X, column_N[number_X], -1), best_X))
    query_X, score_X, predicate_X, best_X = (np.concatenate(part) for part in zip(*parts, strict=True))
    keys: list[NDArray[np.generic]] = [-by_id(dataset.query_names)[query_X]]
    if settings.ties != "id":
        keys.append((predicate_X >= 0) if settings.ties == "pessimistic" else (predicate_X < 0))
    order_X = np.lexsort((*keys, -score_X, image_Q[query_X]))
    return _Triples(image_Q[query_X][order_X], predicate_X[order_X], best_X[order_X])


def _found(triples: _Triples, k: int, shape: tuple[int, ...], *, only_best: bool) -> Ints:
    """How many relations of each picture and predicate stand among its first k triples, shape (I, P)."""
    chosen = triples.best_X if only_best else slice(None)
    image_X, predicate_X = triples.image_X[chosen], triples.predicate_X[chosen]
    first_X = np.searchsorted(image_X, image_X)
    hit_X = (np.arange(len(image_X)) - first_X < k) & (predicate_X >= 0)
    cell_X = image_X[hit_X] * shape[1] + predicate_X[hit_X]
    return np.bincount(cell_X, minlength=shape[0] * shape[1]).reshape(shape)


def _draws(num_images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each picture is drawn; the first row is the pictures themselves, each once."""
    times_BI = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=resamples)
    return np.concatenate([np.ones((1, num_images)), times_BI])


def _overall(kind: str, *, found: Ints, total: Ints, times_BI: Floats) -> Overall:
    """The metric and its percentile interval over draws of pictures."""
    if kind == "recall":
        value_B = _shares(times_BI @ found.sum(axis=1), times_BI @ total.sum(axis=1))
    elif kind == "image_recall":
        some_I = total.sum(axis=1) > 0
        share_I = found[some_I].sum(axis=1) / total[some_I].sum(axis=1)
        value_B = _shares(times_BI[:, some_I] @ share_I, times_BI[:, some_I].sum(axis=1))
    else:
        total_BP, found_BP = times_BI @ total, times_BI @ found
        share_BP = np.where(total_BP > 0, found_BP / np.maximum(total_BP, 1), np.nan)
        occur_B = (total_BP > 0).sum(axis=1)
        value_B = _shares(np.nansum(share_BP, axis=1), occur_B)
    value = float(value_B[0])
    drawn_B = value_B[1:][~np.isnan(value_B[1:])]
    if not len(drawn_B) or len(total) < 2:
        return Overall(value, None)
    low, high = np.quantile(drawn_B, bootstrap.LEVELS).tolist()
    return Overall(value, (low, high))


def _shares(found_B: NDArray[np.generic], total_B: NDArray[np.generic]) -> Floats:
    """The quotient; NaN where a draw has nothing to find."""
    total, found = total_B.astype(np.float64), found_B.astype(np.float64)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), np.nan)
