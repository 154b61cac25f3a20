"""The whole of `report`: read scores and baselines, compose, render, write."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import GateError, MissingError, UsageError, nearest
from vlm2vec_cli.media import Apart, MediaPolicy, MediaReader
from vlm2vec_cli.reporting import compose, examples, per_query, plot, published, rendering, tables
from vlm2vec_cli.reporting.collect import Scores, collect
from vlm2vec_cli.reporting.results import Report
from vlm2vec_cli.reporting.thumbnails import Thumbnails
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.streams import Session, save, sinks

log = logging.getLogger(__name__)

FILE_WIDTH = 100
"""Characters in a line of text that does not go to a terminal."""


@dataclass(frozen=True)
class Sources:
    """What is read beside the scores: baseline files or `published:` names, per-query files."""

    baselines: Sequence[str] = ()
    per_query: Sequence[str] = ()


@dataclass(frozen=True)
class Pictures:
    """How the gallery opens media; `media_root` replaces the folders that the per-query files name."""

    media_root: str | None = None
    trust_paths: bool = False
    allow_remote: bool = False
    each: int = 3


def report(
    session: Session, wishes: compose.Wishes, sources: Sources, pictures: Pictures, *, plot_file: str | None
) -> Report:
    """Writes the report to the session's output and returns it; the gate's verdict is in it, not raised."""
    if plot_file is not None:
        plot.check(plot_file)
        sinks.check_folder(plot_file)
    if session.format not in rendering.FORMATS:
        raise UsageError(
            f"report does not write {session.format}", hint=f"formats are {', '.join(rendering.FORMATS)}"
        )
    named = [_baseline(session, name, wishes.group_by) for name in sources.baselines]
    inputs = ", ".join("stdin" if one == "-" else one for one in session.inputs)
    scores = collect(session.read(SCORE), place=inputs, fields=wishes.group_by)
    files = per_query.assign(sources.per_query, compose.columns_of(scores, named)[0])
    result = compose.compose(scores, named, files, wishes)
    policy = MediaPolicy(trust_paths=pictures.trust_paths, allow_remote=pictures.allow_remote)
    root = Path(pictures.media_root) if pictures.media_root else None
    thumbnails = Thumbnails(MediaReader(policy, decode=Apart()), root)
    gallery = examples.gather(result, files, pictures.each) if session.format == "html" else []
    width = shutil.get_terminal_size((FILE_WIDTH, 24)).columns if session.output == "-" else FILE_WIDTH
    text = rendering.render(result, session.format, width=width, examples=gallery, pictures=thumbnails)
    if thumbnails.failures:
        log.warning(
            "%d media of the gallery cannot be shown; the first: %s; see --media-root and --trust-paths",
            len(thumbnails.failures),
            next(iter(thumbnails.failures.values())),
        )
    session.write_text(text)
    if plot_file is not None:
        save(plot_file, plot.picture(result, plot_file))
    return result


def _baseline(session: Session, name: str, fields: Sequence[str]) -> Scores | str:
    if name.startswith(published.PREFIX):
        published.column(name, catalogue.published(), catalogue.tasks())  # an unknown name is said first
        return name
    if name != "-" and not os.path.exists(name):
        near = nearest(name, catalogue.published()["models"])
        hint = f"published scores are named {published.PREFIX}NAME; {near}" if near else None
        raise MissingError("no such file", place=name, hint=hint)
    return collect(session.read(SCORE, [name]), baseline=True, place=name, fields=fields)


def raise_verdict(result: Report) -> None:
    """GateError where a check failed, naming the first three."""
    lines = tables.check_lines(result)
    if lines:
        more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
        raise GateError(f"{tables.gate_line(result)}: {'; '.join(lines[:3])}{more}", place="gate")
