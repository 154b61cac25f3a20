"""Vectors, or rankings of another tool, and judgements -> score rows, rankings, per-query results.

Memory: vectors, as they came, stay in memory up to 1 GB, the rest lie in a temporary file (`TMPDIR`);
scoring holds blocks of at most 512 queries x 8,192 candidates (about 100 MB and 120 KB a dimension), 12 bytes
a kept rank, and ids, pools and judgements of all rows; with `--per-query` also their texts and references.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.progress import bar
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.ranking import RANKING
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.scoring import evaluate, floats, results_files
from vlm2vec_cli.scoring.collect import Collector
from vlm2vec_cli.scoring.dataset import check, judge_by
from vlm2vec_cli.scoring.files import side_files
from vlm2vec_cli.scoring.matrix import Budget
from vlm2vec_cli.scoring.request import Request, variants
from vlm2vec_cli.scoring.result import Result, Settings, Task
from vlm2vec_cli.scoring.runs import add_query, gather, read_qrels, read_run, run_files
from vlm2vec_cli.streams import Session, opening, read_lines, sinks

__all__ = ["Request", "score", "write_mteb"]

log = logging.getLogger(__name__)
OF_SCORING: Final = (
    *("metrics", "main-metric", "candidates", "qrels", "rankings", "per-query", "dims", "precisions"),
    *("rescore", "rescore-depth", "scene-graph"),
)
SPELT: Final = {"dims": "dim", "precisions": "precision"}
ResultsOf = Callable[[Task], Iterator[Result]]


def score(session: Session, request: Request, *, has_inputs: bool) -> Iterator[Row]:
    """Score rows, datasets as they first appear; side files are written while the rows are taken.

    Everything that can be wrong with names and options is raised here, before any row is read.
    """
    settings = variants(request)
    if request.results:
        if has_inputs or request.run is not None:
            raise UsageError("--results brings finished scores, there is nothing to add to them")
        for name in OF_SCORING:
            if getattr(request, name.replace("-", "_")):
                option = SPELT.get(name, name)
                raise UsageError(f"--results brings finished scores, --{option} has no use with it")
        return results_files.rows(request.results)
    if request.run is not None and request.candidates:
        raise UsageError("--run brings its own rankings, --candidates has no use with it")
    for path in (request.rankings, request.per_query):
        if path is not None:
            sinks.check_folder(path)
    return _rows(session, request, settings, has_inputs)


def write_mteb(session: Session, rows: Iterable[Row], folder: str) -> None:
    """Writes the files that mteb reads under `folder`; one dataset may go to stdout."""
    if folder != sinks.STDOUT:
        sinks.make_folder(folder)
    every = list(rows)
    if folder == sinks.STDOUT:
        if len(every) != 1:
            raise UsageError(f"mteb has a file for each of {len(every)} scores", hint="add -o FOLDER")
        session.write_text(_json(results_files.mteb_result(every[0])))
        return
    for name, content in results_files.mteb_files(every):
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        sinks.save(str(path), _json(content))


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _rows(
    session: Session, request: Request, variants: Sequence[Settings], has_inputs: bool
) -> Iterator[Row]:
    settings = variants[0]
    if request.run is None:
        tasks, results_of = _from_vectors(session, request, variants)
    else:
        tasks, results_of = _from_run(session, request, settings, request.run, has_inputs)
    with contextlib.ExitStack() as stack:
        files = side_files(
            tasks,
            settings,
            rankings=request.rankings,
            rankings_format=request.rankings_format,
            top_k=request.top_k,
            per_query=request.per_query,
        )
        takers = [stack.enter_context(file) for file in files]
        for task in bar(tasks, label="scoring", unit="dataset", quiet=session.quiet):
            for result in results_of(task):
                for take in takers:
                    take(result)
                yield result.row()
            if result.num_without and settings.scene_graph is None:
                done = "left out" if settings.no_relevant == "exclude" else "count as 0"
                count = f"{result.num_without} of {len(task.dataset.query_ids)}"
                log.warning(
                    "dataset %r: %s queries have nothing relevant and are %s", task.dataset.name, count, done
                )


def _from_vectors(
    session: Session, request: Request, variants: Sequence[Settings]
) -> tuple[list[Task], ResultsOf]:
    budget = Budget()
    collector = Collector(
        session.reject,
        budget=budget,
        similarity=request.similarity,
        keep_content=request.per_query is not None,
        allow_mixed=request.allow_mixed,
    )
    count = collector.add(bar(session.read_batches(VECTOR), label="reading", size=len, quiet=session.quiet))
    if request.candidates:
        more = session.read_batches(VECTOR, request.candidates)
        collector.add(bar(more, label="reading candidates", size=len, quiet=session.quiet), role="candidate")
    place = ", ".join(opening.display(path) for path in session.inputs)
    if not count:
        raise DataError("no rows", place=place)
    datasets = check(collector.datasets.values())
    if not datasets:
        raise DataError("no query rows", place=place)
    if request.qrels is not None:
        if len(datasets) > 1:
            raise UsageError(f"--qrels judges one dataset, the input has {len(datasets)}")
        judge_by(datasets[0], read_qrels(read_lines(request.qrels), request.qrels))
        check(datasets)
    wholes: dict[str, floats.Wholes] = {}
    if request.rescore:
        wholes = floats.collected(
            bar(
                session.read_batches(VECTOR, request.rescore),
                label="reading floats",
                size=len,
                quiet=session.quiet,
            ),
            datasets,
            session.reject,
            budget=budget,
            similarity=request.similarity,
            allow_mixed=request.allow_mixed,
            place=", ".join(request.rescore),
        )

    def results_of(task: Task) -> Iterator[Result]:
        dataset = task.dataset
        whole = wholes.get(dataset.name)
        for settings in variants:
            yield evaluate.by_vectors(task, settings, whole.sides() if whole else None)
        for one in (dataset.query_vectors, dataset.candidate_vectors, whole):
            if one is not None:
                one.close()

    return evaluate.plan(datasets, variants[0]), results_of


def _from_run(
    session: Session, request: Request, settings: Settings, path: str, has_inputs: bool
) -> tuple[list[Task], ResultsOf]:
    settings = replace(settings, similarity=Settings().similarity)  # there are no vectors to compare
    collector = Collector(session.reject, vectors=False, keep_content=request.per_query is not None)
    if has_inputs:
        collector.add(session.read_batches((ITEM, VECTOR)))
    if path.lower().endswith(".parquet"):
        rows: Iterable[Row] = ({**one.row, "place": one.place} for one in session.read(RANKING, [path]))
    else:
        rows = (row for one in run_files(path) for row in read_run(read_lines(one), one))
    run = gather(
        rows, {name: one for name, one in collector.datasets.items() if one.query_ids}, path, log.warning
    )
    if not run.datasets:
        raise DataError("no rankings", place=path)
    if request.qrels is not None:
        if len(run.datasets) > 1:
            raise UsageError(f"--qrels judges one dataset, the run has {len(run.datasets)}")
        (dataset,) = run.datasets.values()
        qrels = read_qrels(read_lines(request.qrels), request.qrels)
        if not has_inputs:  # a query that the run leaves out counts
            for query in qrels:
                if query not in dataset.query_ids:
                    add_query(dataset, query, request.qrels)
        judge_by(dataset, qrels)

    def results_of(task: Task) -> Iterator[Result]:
        found = run.rankings.get(task.dataset.name, {})
        missing = sum(bool(gains) for at, gains in enumerate(task.dataset.relevant) if at not in found)
        if missing:
            log.warning("dataset %r: %d queries have no ranking and count as 0", task.dataset.name, missing)
        yield evaluate.by_run(task, settings, found)

    return evaluate.plan(run.datasets.values(), settings), results_of
