"""The rows that a run writes, and their order."""

from collections.abc import Iterable, Iterator

from vlm2vec_cli.mining.batches import batches, linked
from vlm2vec_cli.mining.choose import Choices
from vlm2vec_cli.mining.pairs import DEFAULT_DATASET, Offers, Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.schemas.base import Row

Order = Iterable[tuple[int, int | None]]  # pairs, and the number of each one's batch


def order(pairs: Pairs, pools: Iterable[Pool], choices: Choices, settings: Settings) -> Order:
    """As they came; with `group_batches` batch by batch, pool by pool."""
    counts = choices.counts()
    least = settings.num_negatives if settings.on_short == "drop" else 0
    if settings.group_batches is None:
        yield from ((row, None) for row in pairs.living() if counts[row] >= least)
        return
    number = 0
    for pool in pools:
        rows = [row for row in pool.rows.tolist() if counts[row] >= least]
        queries = [pairs.query_group[row] for row in rows]
        answers = [pairs.positive_group[row] for row in rows]
        links = linked(rows, answers, choices.edges)
        for batch in batches(queries, answers, links, settings.group_batches):
            yield from ((rows[place], number) for place in batch)
            number += 1


def rows(pairs: Pairs, offers: Offers, choices: Choices, settings: Settings, order: Order) -> Iterator[Row]:
    """The pairs with their negatives: those they had, then the mined ones, nearest first, then drawn ones."""
    counts = choices.counts()
    for row, batch in order:
        out = pairs.row(row)
        negatives = [] if settings.replace else out["negatives"]
        for slot in range(counts[row]):
            rank = int(choices.ranks[row, slot])
            negative = pairs.targets.content(int(choices.units[row, slot]))
            name = _id(offers, int(choices.offers[row, slot]), pairs.datasets[row])
            if name is not None:
                negative["id"] = name
            for fact, score in (("score", choices.scores[row, slot]), ("rescore", choices.judged[row, slot])):
                if score == score:
                    negative[fact] = round(float(score), 6) + 0.0
            if rank:
                negative["rank"] = rank
            negative["source"] = settings.method if rank else "random"
            negatives.append(negative)
        out["negatives"] = negatives
        if batch is not None:
            out["batch"] = batch
        yield out


def _id(offers: Offers, offer: int, dataset: str) -> str | None:
    """The id of a negative, as far as it means the same target in the pair's dataset."""
    if offer < 0 or offers.datasets[offer] not in (dataset, DEFAULT_DATASET):
        return None
    return offers.names[offer]
