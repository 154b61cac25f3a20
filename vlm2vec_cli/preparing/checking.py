"""Every medium that rows name, opened and decoded once, before a model has to.

What is wrong is `missing`, `damaged` (truncated, no picture, refused), `tiny` (a side below 28 pixels, which
is shown to the model as 56 by 56) or `extreme` (sides of more than 200 to 1). The first two stop a later run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any

import orjson

from vlm2vec_cli import progress
from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media import Apart, MediaPolicy, MediaReader
from vlm2vec_cli.preparing.plan import Plan
from vlm2vec_cli.readers import References
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.streams.blocks import flat

LEAST_SIDE = 28
"""Pixels; what a model of the Qwen2-VL family turns into one token."""
MOST_ASPECT = 200
USUAL_NUM_FRAMES = 8
SHOWN = 20
SERIOUS = {"missing": MissingError, "damaged": DataError}
KINDS = ("missing", "damaged", "tiny", "extreme")


@dataclass
class Report:
    """Problems in the order of the rows, and how many rows and media each dataset has."""

    problems: list[Row] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)

    def count(self, dataset: str, kind: str) -> int:
        """Problems of one kind in one dataset."""
        return sum(one["dataset"] == dataset and one["problem"] == kind for one in self.problems)


@dataclass(frozen=True)
class Asked:
    """One medium, where it was first named."""

    dataset: str
    place: str
    field: str
    reference: Any
    num_frames: int


def examine(todo: Plan, *, quiet: bool = False) -> Report:
    """Opens the media of all rows that `todo` gives, several at a time. Holds the distinct references."""
    report = Report()
    root = Path.cwd()
    media = MediaReader(MediaPolicy(trust_paths=True), decode=Apart())
    workers = min(32, 2 * (cpu_count() or 1))
    asked = progress.bar(_asked(todo, root, report), label="check", unit="medium", quiet=quiet)
    with ThreadPoolExecutor(workers) as pool:
        for one, found in _in_order(pool, partial(_problems, media, root), asked, 8 * workers):
            report.media[one.dataset] += 1
            for kind, fact in found:
                shown = one.reference if isinstance(one.reference, str) else one.reference[0]
                report.problems.append(_problem(one.dataset, kind, fact, one.place, shown))
    return report


def show(report: Report, form: str) -> str:
    """The report: "jsonl", an object a problem and then one a dataset, or "text" for people."""
    summary = [
        {"dataset": name, "rows": report.rows[name], "media": report.media[name]}
        | {kind: report.count(name, kind) for kind in KINDS}
        for name in dict.fromkeys((*report.rows, *(one["dataset"] for one in report.problems)))
    ]
    if form == "jsonl":
        lines = [*report.problems, *summary]
        return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in lines).decode()
    heads = ["DATASET", "ROWS", "MEDIA", *(kind.upper() for kind in KINDS)]
    table = [heads, *([str(value) for value in one.values()] for one in summary)]
    widths = [max(len(line[at]) for line in table) for at in range(len(heads))]
    text = "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in table
    )
    for one in report.problems[:SHOWN]:
        text += f"{one['problem']}: {one['dataset']} {one['place']}: {one['fact']}\n"
    if len(report.problems) > SHOWN:
        text += f"and {len(report.problems) - SHOWN} more; --format jsonl lists them all\n"
    return text


def judge(report: Report) -> None:
    """MissingError or DataError where a later run would stop."""
    for kind, error in SERIOUS.items():
        count = sum(one["problem"] == kind for one in report.problems)
        if count:
            raise error(f"{count} media are {kind}", hint="--on-error skip goes on without such rows")


def _problem(dataset: str, kind: str, fact: str, place: str, reference: str | None = None) -> Row:
    row: Row = {"dataset": dataset, "problem": kind, "place": place, "fact": fact}
    return {**row, "reference": reference} if reference else row


def _asked(todo: Plan, root: Path, report: Report) -> Iterator[Asked]:
    """Every distinct medium of the rows; rows that cannot be made are problems."""
    seen: set[str] = set()
    for entry in todo.entries():
        pieces = todo.pieces_of(entry, References(root), partial(_unmade, report, entry["name"]))
        for row in flat(pieces):
            report.rows[row["dataset"]] += 1
            yield from _named_first(row, seen)


def _unmade(report: Report, dataset: str, error: UserError) -> None:
    kind = "missing" if isinstance(error, MissingError) else "damaged"
    report.problems.append(_problem(dataset, kind, error.fact, error.place))


def _named_first(row: Row, seen: set[str]) -> Iterator[Asked]:
    """The media of a row that are not in `seen` yet."""
    sides = [(row.get("role", "pair"), row)]
    sides += [(name, row[name]) for name in ("query", "positive") if name in row]
    sides += [("negative", one) for one in row.get("negatives", ())]
    for side, content in sides:
        for name in ("image", "video"):
            for reference in _references(name, content.get(name)):
                if (key := repr(reference)) not in seen:
                    seen.add(key)
                    frames = content.get("num_frames", USUAL_NUM_FRAMES)
                    yield Asked(row["dataset"], f"{side} {row['id']}", name, reference, frames)


def _references(name: str, value: Any) -> list[Any]:
    """Pictures one by one; the frames of a video together."""
    if value is None:
        return []
    return list(value) if name == "image" and isinstance(value, list) else [value]


def _problems(media: MediaReader, root: Path, one: Asked) -> list[tuple[str, str]]:
    """Kind and fact of what is wrong with a medium."""
    try:
        if one.field == "image":
            pictures = [media.image(one.reference, root)]
        else:
            pictures = media.frames(one.reference, root, num_frames=one.num_frames)
    except UserError as error:
        return [("missing" if isinstance(error, MissingError) else "damaged", error.fact)]
    found = []
    for width, height in sorted({picture.size for picture in pictures}):
        low, high = sorted((width, height))
        if low < LEAST_SIDE:
            found.append(("tiny", f"{one.field} {_shown(one.reference)}: {width} x {height} pixels"))
        if high > MOST_ASPECT * low:
            found.append(("extreme", f"{one.field} {_shown(one.reference)}: {width} x {height} pixels"))
    return found


def _shown(reference: Any) -> str:
    return str(reference if isinstance(reference, str) else reference[0])


def _in_order(
    pool: ThreadPoolExecutor, work: Any, things: Iterable[Asked], ahead: int
) -> Iterator[tuple[Asked, list[tuple[str, str]]]]:
    """Each thing with the result of `work`, in order, at most `ahead` of them under way."""
    things = iter(things)
    waiting: list[tuple[Asked, Future[list[tuple[str, str]]]]] = []
    while True:
        waiting += [(one, pool.submit(work, one)) for one in islice(things, ahead - len(waiting))]
        if not waiting:
            return
        one, future = waiting.pop(0)
        yield one, future.result()
