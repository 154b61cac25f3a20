"""Retrieval sets of three parts, queries, corpus and relevance: ViDoRe, VisRAG, BEIR folders.

Parquet: `queries/`, `corpus/`, `qrels/` with `query-id`, `query` (`language`); `corpus-id`, `image` (`text`,
`title`); `query-id`, `corpus-id`, `score`. JSONL: `queries.jsonl` and `corpus.jsonl` with `_id`, `text`
(`title`, `image`), and `qrels/SPLIT.tsv`. Rows with a score of 0 or less count as not relevant, of a repeated
pair the larger score counts, a query without anything relevant is left out. Page pictures are referred to
where they stand: as bytes in the corpus file, as paths in it, or as files named by the id. Relevance is held
in memory.
Source: Thakur et al. 2021 (BEIR); VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec), parsers vidore and visrag.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path, PurePosixPath

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._cells import Held, held, path_in, shallow
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._places import Find, Places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows, split_files
from vlm2vec_cli.readers._text import IMAGE, joined
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.streams import read_lines

QUERY_IDS = ("query-id", "_id", "id")
CORPUS_IDS = ("corpus-id", "_id", "id")
QUERY_TEXTS = ("query", "text")
TSV_COLUMNS = 3
STEM_CHARACTERS, HASH_CHARACTERS = 50, 8
"""VisRAG's page files are named by this much of the id's stem and of its MD5."""


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one retrieval set."""
    if side == "query":
        gains = _gains(raw, _part(entry, raw, "qrels"))
        columns = (*QUERY_IDS, *QUERY_TEXTS, "language")
        source = rows(_part(entry, raw, "queries"), (), raw, columns)
        return queries(raw, _asked(entry, raw, source, gains), partial(_query, entry, raw, gains))
    return _corpus(entry, raw)


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    queries, corpus, qrels = (
        found_in(partial(annotations, entry, raw, one)) for one in ("queries", "corpus", "qrels")
    )
    missing = (*queries.missing, *corpus.missing, *qrels.missing)
    return Found(not missing, corpus.annotations, missing)


def _part(entry: Entry, raw: Raw, part: str) -> list[Path]:
    """The files of one of the three parts. Raises MissingError naming the places."""
    if entry.get("hf"):
        return annotations(entry, raw, part)
    split = raw.split or "test"
    names = [f"qrels/{split}.tsv", "qrels.tsv"] if part == "qrels" else [f"{part}.jsonl", f"{part}.jsonl.gz"]
    for name in names:
        if (raw.root / name).is_file():
            return [raw.root / name]
    found = split_files(raw.root / part, split) or sorted((raw.root / part).glob("*.parquet"))
    if not found:
        looked = ", ".join((*names, f"{part}/{split}-*.parquet"))
        raise MissingError(f"no {part} of the split {split!r} in {raw.root}; looked for {looked}")
    return found


def _gains(raw: Raw, paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Query id to candidate id to gain above 0."""
    gains: dict[str, dict[str, float]] = {}
    for path in paths:
        judged = _judged_tsv(raw, path) if path.suffix == ".tsv" else _judged(raw, path)
        for asked, found, score in judged:
            if score > 0:
                known = gains.setdefault(asked, {})
                known[found] = max(score, known.get(found, 0.0))
    return gains


def _judged_tsv(raw: Raw, path: Path) -> Iterator[tuple[str, str, float]]:
    for number, line in read_lines(str(path)):
        cells = line.split("\t")
        try:
            score = float(cells[-1])
        except ValueError:
            if number > 1:
                raw.reject(DataError(f"the score {cells[-1]!r} is no number", place=f"{path} line {number}"))
            continue
        if len(cells) < TSV_COLUMNS:
            raw.reject(DataError("expected query-id, corpus-id and score", place=f"{path} line {number}"))
        else:
            yield cells[0], cells[-2], score


def _judged(raw: Raw, path: Path) -> Iterator[tuple[str, str, float]]:
    for row in rows([path], ("query-id", "corpus-id", "score"), raw):
        try:
            score = row.values["score"]
            if not isinstance(score, int | float):
                raise DataError(f"score: expected a number, got {score!r}")
            judged = row.identifier("query-id"), row.identifier("corpus-id"), float(score)
        except UserError as error:
            raw.reject(error.at(row.place))
            continue
        yield judged


def _asked(
    entry: Entry, raw: Raw, source: Iterator[RawRow], gains: dict[str, dict[str, float]]
) -> Iterator[RawRow]:
    """The query rows in the entry's language that have something relevant; the others are counted."""
    language = entry.get("language_filter")
    for row in source:
        if language and row.values.get("language") != language:
            continue
        name = _present(row, QUERY_IDS)
        if name is not None and str(row.values[name]) not in gains:
            raw.left_out(f"{entry['name']}: query without a relevant candidate")
            continue
        yield row


def _query(entry: Entry, raw: Raw, gains: dict[str, dict[str, float]], row: RawRow) -> Row:
    identifier = row.identifier(_present(row, QUERY_IDS) or QUERY_IDS[0])
    text = row.text(_present(row, QUERY_TEXTS) or QUERY_TEXTS[0])
    if not text:
        raise DataError("query: the row has no text")
    content: Row = {"text": joined(_instruction(entry, raw, "query"), text)}
    return query(entry, raw, identifier, content, gains[identifier])


def _corpus(entry: Entry, raw: Raw) -> Iterator[Row]:
    """The candidates, file by file: each may hold its pictures in another way."""
    kinds: dict[Path, Held] = {}
    places: Find = cache(partial(Places, raw))  # of each, what is listed is kept
    plain: dict[str, Held] = {"image": "value"}

    def source() -> Iterator[RawRow]:
        for path in _part(entry, raw, "corpus"):
            found = held(path, ["image"]) if path.suffix == ".parquet" else plain
            kinds[path] = found.get("image", "value")
            columns = (*CORPUS_IDS, "title", "text", *shallow(["image"], found))
            yield from rows([path], (), raw, columns)

    return candidates(entry, raw, source(), partial(_offers, entry, raw, kinds, places))


def _offers(entry: Entry, raw: Raw, kinds: dict[Path, Held], places: Find, row: RawRow) -> Iterator[Offer]:
    key = row.identifier(_present(row, CORPUS_IDS) or CORPUS_IDS[0])

    def content() -> Row:
        text = joined(row.text("title"), row.text("text"))
        picture = _picture(entry, raw, kinds[row.path], places, key, row)
        if picture is None and not text:
            raise DataError("the row has neither text nor picture")
        prompt = joined(_instruction(entry, raw, "target"), text, IMAGE if picture else "")
        return {"text": prompt, "image": picture} if picture else {"text": prompt}

    yield key, content


def _picture(entry: Entry, raw: Raw, kind: Held, places: Find, key: str, row: RawRow) -> str | None:
    if kind == "bytes":
        return raw.references.of(row.path.parent, f"{row.path.name}!image[{row.index}]")
    if path := path_in(row.values.get("image")):
        return places((row.path.parent, row.path.parent.parent, raw.root)).reference("image", path)
    local = entry.get("local") or {}
    if "image_root" not in local:
        return None
    return places((raw.root / local["image_root"],)).reference("image", page_file(entry["parser"], key))


def page_file(parser: str, key: str) -> str:
    """The name of an exported page: the id, shortened for VisRAG's long ones."""
    if parser != "visrag":
        return f"{key}.png"
    name = PurePosixPath(key)
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{name.stem[:STEM_CHARACTERS]}_{digest[:HASH_CHARACTERS]}{name.suffix}"


def _instruction(entry: Entry, raw: Raw, side: str) -> str:
    instruction: str = (entry.get("instruction") or {}).get(side, "") if raw.instructions else ""
    return instruction


def _present(row: RawRow, names: Sequence[str]) -> str | None:
    return next((name for name in names if row.values.get(name) is not None), None)
