"""The files beside the score rows: rankings and per-query results, each under its name only when complete."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal, get_args

from vlm2vec_cli.schemas.ranking import RANKING
from vlm2vec_cli.scoring import rankings
from vlm2vec_cli.scoring.per_query import PerQueryWriter
from vlm2vec_cli.scoring.result import Result, Settings, Task
from vlm2vec_cli.streams import sinks
from vlm2vec_cli.streams.jsonl import JsonlWriter
from vlm2vec_cli.streams.parquet_writer import ParquetWriter

Form = Literal["jsonl", "parquet", "trec"]
Taker = Callable[[Result], None]

FORMS: Final = {".trec": "trec", ".run": "trec", ".txt": "trec"} | {
    f".{form}": form for form in get_args(Form)
}


def form_of(path: str, form: Form | None) -> str:
    """The form asked for, else that of the suffix, else JSONL."""
    return form or sinks.format_of(path, FORMS) or "jsonl"


@contextmanager
def rankings_file(path: str, form: str, tasks: Sequence[Task], top_k: int) -> Iterator[Taker]:
    """Takes results and writes each query's first `top_k`; UsageError where TREC cannot hold them."""
    if form == "trec":
        rankings.check_trec(tasks, "--rankings")
    taken: list[int] = []
    with sinks.sink(path, holds="the finished rankings", worth=lambda: bool(taken)) as stream:
        if form == "trec":

            def take(result: Result) -> None:
                stream.writelines(rankings.trec_lines(result, top_k))
                taken.append(len(result.query_Q))

            yield take
            return
        writer = ParquetWriter(stream, RANKING, {}) if form == "parquet" else JsonlWriter(stream, RANKING, {})

        def take_rows(result: Result) -> None:
            for row in rankings.rows(result, top_k):
                writer.write(row)
            taken.append(len(result.query_Q))

        try:
            yield take_rows
        finally:
            writer.close()


@contextmanager
def per_query_file(path: str, tasks: Sequence[Task], settings: Settings) -> Iterator[Taker]:
    """Takes results and writes a row a query, see `per_query`."""
    taken: list[int] = []
    with sinks.sink(path, holds="the finished datasets", worth=lambda: bool(taken)) as stream:
        writer = PerQueryWriter(stream, tasks, settings)

        def take(result: Result) -> None:
            writer.write(result)
            taken.append(len(result.query_Q))

        try:
            yield take
        finally:
            writer.close()


def side_files(
    tasks: Sequence[Task],
    settings: Settings,
    *,
    rankings: str | None,
    rankings_format: Form | None,
    top_k: int,
    per_query: str | None,
) -> list[AbstractContextManager[Taker]]:
    """The files that were asked for, not opened yet."""
    files: list[AbstractContextManager[Taker]] = []
    if rankings is not None:
        files.append(rankings_file(rankings, form_of(rankings, rankings_format), tasks, top_k))
    if per_query is not None:
        files.append(per_query_file(per_query, tasks, settings))
    return files
