"""A whole run: read the pairs, find the vectors, mine pool by pool, write the pairs with their negatives."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining import audit, labels, written
from vlm2vec_cli.mining.bm25 import ByWords, library_module
from vlm2vec_cli.mining.cache import Cache
from vlm2vec_cli.mining.choose import Choices, Miner
from vlm2vec_cli.mining.given import from_corpus, from_rows
from vlm2vec_cli.mining.identity import Identity
from vlm2vec_cli.mining.judge import Encode, Judge
from vlm2vec_cli.mining.known import Known
from vlm2vec_cli.mining.looks import Looks
from vlm2vec_cli.mining.pairs import Offers, Pairs
from vlm2vec_cli.mining.pool import Pool, pools
from vlm2vec_cli.mining.search import Among, Nowhere, Search, faiss_module
from vlm2vec_cli.mining.settings import Settings, option
from vlm2vec_cli.mining.summary import Summary, summarize
from vlm2vec_cli.mining.vectors import Side, Vectors
from vlm2vec_cli.nearest import Rows
from vlm2vec_cli.progress import bar
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams import Session, save, sinks

if TYPE_CHECKING:
    from vlm2vec_cli.encoder import Encoder

Load = Callable[[str, MediaReader, Iterable[str]], "Encoder"]


class Run:
    """One run. `load` makes an encoder of the model's name and the texts of the stream (for `-m tiny`).

    `load_judge` does so for --rescore.
    """

    def __init__(
        self, session: Session, settings: Settings, media: MediaReader, load: Load, load_judge: Load
    ) -> None:
        self._session, self._settings, self._media = session, settings, media
        self._load, self._load_judge = load, load_judge
        identify = media.identity if settings.media_identity == "bytes" else None
        bits = settings.near_duplicates
        self._pairs = Pairs(
            Identity(identify),
            settings.label_field if settings.method == "labels" else None,
            looks=None if bits is None else Looks(bits, media.image),
            by_document=settings.same_document == "exclude",
        )
        self._vectors = Vectors(allow_mixed=settings.allow_mixed)
        self._queries = Side("query", self._pairs.queries, self._vectors)
        self._targets = Side("candidate", self._pairs.names, self._vectors)

    def mine(self) -> Summary:
        """Does it all; the pairs are written in their order."""
        settings, session = self._settings, self._session
        self._check_files()
        if settings.backend == "faiss":
            faiss_module()
        if settings.method == "bm25":
            library_module()
        neighbors = None if settings.neighbors is None else labels.read(settings.neighbors, settings)
        with contextlib.ExitStack() as stack:
            stack.callback(self._pairs.spool.close)
            stack.callback(self._vectors.close)
            self._read()
            corpus = None if settings.corpus is None else self._read_corpus(settings.corpus)
            self._find_vectors(stack)
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
            judge = None if settings.rescore is None else self._judge(settings.rescore, stack)
            keep_edges = settings.group_batches is not None
            choices = Choices.none(len(self._pairs), settings.num_negatives, keep_edges=keep_edges)
            if judge is not None:
                choices.judged_positives = judge.positives
            extra: dict[str, Any] = {"rejected": len(self._pairs) - sum(self._pairs.alive)}
            for pool in bar(found, label="mine", unit="dataset", quiet=session.quiet):
                pool, search = self._search(pool, neighbors, extra)
                Miner(self._pairs, pool, known, search, settings, choices, judge).mine()
            order = written.order(self._pairs, found, choices, settings)
            session.write(written.rows(self._pairs, offers, choices, settings, order), PAIR)
            if settings.audit is not None:
                page = audit.page(self._pairs, choices, settings, audit.Pictures(self._media))
                save(settings.audit, page)
            return summarize(self._pairs, found, choices, settings, extra)

    def _check_files(self) -> None:
        """Side files that could not be written are refused before the work, not after it."""
        for name in ("summary", "audit", "neighbors_out"):
            path = getattr(self._settings, name)
            if path == sinks.STDOUT and self._session.output == sinks.STDOUT:
                raise UsageError(f"{option(name)} needs a file: stdout carries the pairs")
            if path not in (None, sinks.STDOUT):
                sinks.check_folder(path)

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
        session = self._session
        batches = bar(
            session.read_batches((ITEM, VECTOR), [path]), label="corpus", size=len, quiet=session.quiet
        )
        side = self._targets if self._settings.method == "dense" else None
        offers = from_corpus(batches, self._pairs, side, session.reject)
        if not offers.ids:
            raise DataError("no targets", place=path)
        return offers

    def _find_vectors(self, stack: contextlib.ExitStack) -> None:
        settings, session = self._settings, self._session
        sides = [self._queries, self._targets] if settings.method == "dense" else [self._targets]
        if settings.vectors is not None:
            batches = bar(
                session.read_batches(VECTOR, [settings.vectors]),
                label="vectors",
                size=len,
                quiet=session.quiet,
            )
            from_rows(batches, sides, session.reject, settings.vectors)
        elif settings.model is not None:
            encode = self._encode(settings.model, self._load, self._vectors, stack)
            for side in sides:
                encode(side, side.missing())
        else:
            return
        for row in list(self._pairs.living()):
            self._check_vectors(row)

    def _judge(self, model: str, stack: contextlib.ExitStack) -> Judge:
        pairs, vectors = self._pairs, Vectors()
        stack.callback(vectors.close)
        sides = Side("query", pairs.queries, vectors), Side("candidate", pairs.targets, vectors)
        encode = self._encode(model, self._load_judge, vectors, stack)
        return Judge(pairs, *sides, encode, self._settings.rescore_margin)

    def _encode(self, model: str, load: Load, vectors: Vectors, stack: contextlib.ExitStack) -> Encode:
        from vlm2vec_cli.mining.encoding import encode

        encoder = load(model, self._media, self._texts())
        maker = {"fingerprint": encoder.fingerprint, "model": encoder.model}
        vectors.check_maker(maker, f"--model {model}")
        cache = None
        if self._settings.cache is not None:
            cache = Cache(self._settings.cache, encoder.fingerprint, encoder.dim, self._media)
            stack.callback(cache.close)
        return partial(
            encode, encoder=encoder, refuse=self._stop_at_once, cache=cache, quiet=self._session.quiet
        )

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
        if self._settings.method in ("random", "bm25"):
            return corpus
        rows = self._targets.rows
        if (self._targets.index()[np.array(corpus.units, dtype=np.int64)] >= 0).all():
            return corpus
        living = Offers(from_corpus=True)
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
        if settings.method == "bm25":
            return pool, ByWords(pairs, pool)
        matrix, targets = self._vectors.matrix(), self._targets.index()
        if settings.method == "dense":
            return pool, Among(pairs, pool, matrix, self._queries.index(), targets, settings)
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


def load(model: str, media: MediaReader, texts: Iterable[str], **options: Any) -> "Encoder":
    """Loads a model with the options of `encoder.load`, and the model libraries with it."""
    from vlm2vec_cli import encoder

    return encoder.load(model, media, texts=texts, **options)
