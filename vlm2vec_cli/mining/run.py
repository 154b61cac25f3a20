"""A whole run: read the pairs, find the vectors, mine pool by pool, write the pairs with their negatives."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining import labels
from vlm2vec_cli.mining.choose import Choices, Miner
from vlm2vec_cli.mining.identity import Identity
from vlm2vec_cli.mining.known import Known
from vlm2vec_cli.mining.pairs import Offers, Pairs
from vlm2vec_cli.mining.pool import Pool, pools
from vlm2vec_cli.mining.search import Among, Nowhere, Search, faiss_module
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.summary import Summary, summarize
from vlm2vec_cli.mining.topk import Rows
from vlm2vec_cli.mining.vectors import Side, Vectors, from_rows
from vlm2vec_cli.progress import bar
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams import Session, save

if TYPE_CHECKING:
    from vlm2vec_cli.encoder import Encoder

Load = Callable[[str, MediaReader, Iterable[str]], "Encoder"]


class Run:
    """One run. `load` makes an encoder of the model's name and the texts of the stream (for `-m tiny`)."""

    def __init__(self, session: Session, settings: Settings, media: MediaReader, load: Load) -> None:
        self._session, self._settings, self._media, self._load = session, settings, media, load
        identify = media.identity if settings.media_identity == "bytes" else None
        label_field = settings.label_field if settings.method == "labels" else None
        self._pairs = Pairs(Identity(identify), label_field)
        self._vectors = Vectors(allow_mixed=settings.allow_mixed)
        self._queries = Side("query", self._pairs.queries, self._vectors)
        self._targets = Side("candidate", self._pairs.names, self._vectors)

    def mine(self) -> Summary:
        """Does it all; the pairs are written in their order."""
        settings, session = self._settings, self._session
        if settings.backend == "faiss":
            faiss_module()
        neighbors = None if settings.neighbors is None else labels.read(settings.neighbors, settings)
        with contextlib.ExitStack() as stack:
            stack.callback(self._pairs.spool.close)
            stack.callback(self._vectors.close)
            self._read()
            corpus = None if settings.corpus is None else self._read_corpus(settings.corpus)
            self._find_vectors()
            offers = self._living_offers(corpus)
            found = list(pools(self._pairs, offers, across_datasets=settings.across_datasets))
            if settings.neighbors_out is not None and len(found) > 1:
                names = f"{found[0].name}, {found[1].name}" + ", ..." * (len(found) > 2)
                raise DataError(
                    f"labels of {len(found)} datasets ({names}) do not fit one file",
                    place=settings.neighbors_out,
                    hint="--across-datasets, or one dataset at a time",
                )
            known = Known(self._pairs, keep_existing=not settings.replace)
            choices = Choices.none(len(self._pairs), settings.num_negatives)
            extra: dict[str, Any] = {"rejected": len(self._pairs) - sum(self._pairs.alive)}
            for pool in bar(found, label="mine", unit="dataset", quiet=session.quiet):
                pool, search = self._search(pool, neighbors, extra)
                Miner(self._pairs, pool, known, search, settings, choices).mine()
            session.write(self._rows(choices), PAIR)
            return summarize(self._pairs, found, choices, settings, extra)

    def _read(self) -> None:
        session = self._session
        for record in bar(session.read(PAIR), label="read", quiet=session.quiet):
            try:
                self._pairs.add(record)
            except UserError as error:
                session.reject(error.at(record.place), record.row)
        if not len(self._pairs):
            names = ", ".join("stdin" if name == "-" else name for name in session.inputs)
            raise DataError("no pairs to mine for", place=names)

    def _read_corpus(self, path: str) -> Offers:
        offers = Offers(from_corpus=True)
        records = self._session.read((ITEM, VECTOR), [path])
        for record in bar(records, label="corpus", quiet=self._session.quiet):
            embedding = record.row.pop("embedding", None)
            if embedding is not None and self._settings.method == "dense":
                self._vectors.check_maker(record.row, record.place)
            try:
                unit = self._pairs.add_corpus_row(record, offers)
                if embedding is not None and self._settings.method == "dense":
                    self._targets.put(unit, embedding, record.place)
            except UserError as error:
                self._session.reject(error.at(record.place), record.row)
        if not offers.ids:
            raise DataError("no targets", place=path)
        return offers

    def _find_vectors(self) -> None:
        settings, session = self._settings, self._session
        sides = [self._queries, self._targets] if settings.method == "dense" else [self._targets]
        if settings.vectors is not None:
            records = bar(session.read(VECTOR, [settings.vectors]), label="vectors", quiet=session.quiet)
            from_rows(records, sides, session.reject, settings.vectors)
        elif settings.model is not None:
            from vlm2vec_cli.mining.encoding import encode

            encoder = self._load(settings.model, self._media, self._texts())
            for side in sides:
                maker = {"fingerprint": encoder.fingerprint, "model": encoder.model}
                self._vectors.check_maker(maker, f"--model {settings.model}")
                encode(side, encoder, self._stop_at_once, quiet=session.quiet)
        else:
            return
        for row in list(self._pairs.living()):
            self._check_vectors(row)

    def _stop_at_once(self, error: UserError) -> None:
        if self._session.on_error == "fail":
            raise error

    def _texts(self) -> Iterator[str]:
        for side in (self._pairs.queries, self._pairs.targets):
            for unit in range(len(side)):
                content = side.content(unit)
                yield from (content[name] for name in ("instruction", "text") if content.get(name))

    def _check_vectors(self, row: int) -> None:
        """Rejects a pair whose query or positive (for labels: label) has no vector."""
        pairs = self._pairs
        parts = [("query", self._queries, pairs.query[row]), ("positive", self._targets, pairs.positive[row])]
        if self._settings.method == "labels":
            group = pairs.positive_group[row]
            parts = [(f"label {pairs.labels[group]!r}", self._targets, pairs.names_of[group])]
        for name, side, unit in parts:
            if side.rows[unit] < 0:
                pairs.alive[row] = False
                error = side.errors[unit]
                at = type(error)(f"{name}: {error.fact}", place=pairs.place(row), hint=error.hint)
                self._session.reject(at, pairs.row(row))
                return

    def _living_offers(self, corpus: Offers | None) -> Offers:
        """What may be mined: everything that has a vector, where vectors are needed."""
        if corpus is None:
            return self._pairs.offers()
        if self._settings.method == "random":
            return corpus
        living = Offers(from_corpus=True)
        rows = self._targets.rows
        for place, unit in enumerate(corpus.units):
            if rows[unit] >= 0:
                living.add_from(corpus, place)
            else:
                error = self._targets.errors[unit]
                where = self._pairs.targets.place(unit)
                self._session.reject(type(error)(error.fact, place=where, hint=error.hint))
        return living

    def _search(
        self, pool: Pool, neighbors: labels.Neighbors | None, extra: dict[str, Any]
    ) -> tuple[Pool, Search]:
        pairs, settings = self._pairs, self._settings
        if settings.method == "random":
            return pool, Nowhere()
        matrix, targets = self._vectors.matrix(), self._targets.index()
        if settings.method == "dense":
            return pool, Among(pairs, pool, matrix, self._queries.index(), targets, settings.backend)
        if neighbors is not None:
            own = labels.given(neighbors, pairs, pool, settings)
            for name in ("num_unlisted", "num_unknown"):
                extra[name] = extra.get(name, 0) + getattr(own, name)
            found = labels.OfLabels(pairs, own.pool, own.table, has_scores=own.has_scores, vectors=None)
            return own.pool, found
        names = np.array([pairs.names_of[group] for group in pool.at], dtype=np.int64)
        vectors = Rows(matrix, targets[names])
        table = labels.nearest_labels(vectors, settings.num_neighbors)
        if settings.neighbors_out is not None:
            save(settings.neighbors_out, labels.to_json(pairs, pool, table))
        return pool, labels.OfLabels(pairs, pool, table, has_scores=True, vectors=vectors)

    def _rows(self, choices: Choices) -> Iterator[Row]:
        settings, targets = self._settings, self._pairs.targets
        counts = choices.counts()
        for row in self._pairs.living():
            if settings.on_short == "drop" and counts[row] < settings.num_negatives:
                continue
            out = self._pairs.row(row)
            negatives = [] if settings.replace else out["negatives"]
            for slot in range(counts[row]):
                rank = int(choices.ranks[row, slot])
                negative = targets.content(int(choices.units[row, slot]))
                score = float(choices.scores[row, slot])
                if score == score:
                    negative["score"] = round(score, 6) + 0.0
                if rank:
                    negative["rank"] = rank
                negative["source"] = settings.method if rank else "random"
                negatives.append(negative)
            out["negatives"] = negatives
            yield out


def loading(**options: Any) -> Load:
    """What loads the model: with `options` of `encoder.load`, only when it is asked for."""

    def load(model: str, media: MediaReader, texts: Iterable[str]) -> "Encoder":
        from vlm2vec_cli import encoder

        return encoder.load(model, media, texts=texts, **options)

    return load
