"""Video question answering: MVBench, Video-MME, NExTQA, EgoSchema, ActivityNetQA. Candidates are answers.

The five sets print a question's options in five ways; what stands in the query, what an answer is called, and
what of it the model sees differ accordingly (`QUESTIONS`).
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset),
parsers mvbench, videomme, nextqa, egoschema, activitynetqa.
"""

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query, text_offers
from vlm2vec_cli.readers._media import Videos, video_places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row


@dataclass(frozen=True)
class Question:
    """A row taken apart. `keys` name the answers in order, `texts` are what the model sees of them."""

    text: str
    keys: list[str]
    texts: list[str]
    right: str
    video: str


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one video question answering task."""
    take, columns = QUESTIONS[entry["parser"]]
    source = _rows(entry, raw, columns)
    if side == "query":
        return queries(raw, source, partial(_query, entry, raw, video_places(entry, raw), take))
    return candidates(entry, raw, source, partial(_offers, take))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    subsets = entry.get("subsets") or (None,)
    parts = [partial(annotations, entry, raw, one) for one in subsets]
    return found_in(*parts, media=video_places(entry, raw).missing())


def _rows(entry: Entry, raw: Raw, columns: Sequence[str]) -> Iterator[RawRow]:
    """The rows of a task, those of its subsets one after the other, each with its `subset`."""
    number = 0
    for subset in entry.get("subsets") or (None,):
        for row in rows(annotations(entry, raw, subset), columns, raw):
            number += 1
            yield replace(row, values={**row.values, "subset": subset}, number=number)


def _query(entry: Entry, raw: Raw, videos: Videos, take: Callable[[RawRow], Question], row: RawRow) -> Row:
    one = take(row)
    if one.right not in one.keys:
        raise DataError(f"the right answer {one.right!r} is none of the options")
    instruction = entry["instruction"]["query"] if raw.instructions else ""
    content: Row = {"text": joined(instruction, one.text, VIDEO), "video": videos.reference([one.video])}
    return query(entry, raw, str(row.number), content, [one.right], one.keys)


def _offers(take: Callable[[RawRow], Question], row: RawRow) -> Iterator[Offer]:
    one = take(row)
    for key, (_, content) in zip(one.keys, text_offers(one.texts), strict=True):
        yield key, content


def lettered(question: str, options: Sequence[str]) -> tuple[str, list[str]]:
    """The question with its options, "(A) ..." a line each, and these options."""
    listed = [f"({letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False)]
    return "\n".join((question, "Options:", *listed)).rstrip(), listed


def unlettered(option: str) -> str:
    """An option's text: behind its first ". ", or all of it where there is none; no dots and blanks around.

    >>> unlettered("B. To the left. ")
    'To the left'
    """
    _, found, text = option.partition(". ")
    return (text if found else option).strip(". ")


def _at(options: list[str], position: str) -> str:
    if not position.isdecimal() or int(position) >= len(options):
        raise DataError(f"answer: expected 0 to {len(options) - 1}, got {position!r}")
    return options[int(position)]


def _mvbench(row: RawRow) -> Question:
    options = row.texts("candidates")
    text, listed = lettered(row.text("question"), options)
    if row.text("answer") not in options:
        raise DataError(f"answer: {row.text('answer')!r} is none of the candidates")
    right = listed[options.index(row.text("answer"))]
    subset = row.values["subset"]
    video = f"{subset}/{row.identifier('video')}" if subset else row.identifier("video")
    return Question(text, listed, listed, right, video)


def _nextqa(row: RawRow) -> Question:
    options = [row.text(f"a{number}") for number in range(5)]
    text, _ = lettered(row.text("question"), options)
    return Question(text, options, options, _at(options, row.identifier("answer")), row.identifier("video"))


def _videomme(row: RawRow) -> Question:
    options = row.texts("options")
    letters, answer = string.ascii_uppercase[: len(options)], row.identifier("answer")
    if len(answer) != 1 or answer not in letters:
        raise DataError(f"answer: expected {letters[:1]} to {letters[-1:]}, got {answer!r}")
    text = "\n".join((row.text("question"), *options))
    right = options[letters.index(answer)]
    return Question(text, options, [unlettered(one) for one in options], right, row.identifier("videoID"))


def _egoschema(row: RawRow) -> Question:
    options = row.texts("option")
    right = _at(options, row.identifier("answer"))
    text = row.text("question") + " ".join(options)
    return Question(text, options, [unlettered(one) for one in options], right, row.identifier("video_idx"))


def _activitynetqa(row: RawRow) -> Question:
    options = ["yes", "no"]
    text = f"{row.text('question')}? (A) yes; (B) no."
    return Question(text, options, options, row.text("answer"), f"v_{row.identifier('video_name')}")


QUESTIONS: dict[str, tuple[Callable[[RawRow], Question], tuple[str, ...]]] = {
    "mvbench": (_mvbench, ("question", "video", "candidates", "answer")),
    "nextqa": (_nextqa, ("question", "video", "answer", "a0", "a1", "a2", "a3", "a4")),
    "videomme": (_videomme, ("question", "videoID", "options", "answer")),
    "egoschema": (_egoschema, ("question", "video_idx", "option", "answer")),
    "activitynetqa": (_activitynetqa, ("question", "video_name", "answer")),
}
