"""What a reader has to know before trusting a comparison: missing tasks, unequal evaluations."""

from collections.abc import Mapping, Sequence

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.reporting.numbers import plural
from vlm2vec_cli.reporting.results import Cell, Column, Mean, Task

CONDITIONS = {
    "text_digest": "other prompts or texts",
    "data_digest": "other queries, candidates, judgements or pools",
    "similarity": "another similarity",
    "ties": "another rule for ties",
    "no_relevant": "queries without anything relevant count otherwise",
    "judgement_digest": "other queries or judgements",
    "novel": "other predicates are novel",
    "ignored": "other predicates are left out",
}
NO_CELL = Cell(0.0, "", {}, {})


def missing_tasks(
    columns: Sequence[Column], means: Sequence[Mean], benchmark: str | None
) -> dict[str, tuple[str, ...]]:
    """By column, the tasks of the benchmark without a score; columns that miss nothing are left out."""
    if benchmark is None:
        return {}
    expected = next(mean.tasks for mean in means if mean.key == "overall")
    gaps = {column.name: tuple(name for name in expected if name not in column.cells) for column in columns}
    return {name: gap for name, gap in gaps.items() if gap}


def compact(names: Sequence[str], means: Sequence[Mean]) -> list[str]:
    """`names` with complete modalities and groups put as one, such as "all 18 of video", "MSCOCO_i2t"."""
    left, parts = dict.fromkeys(names), []
    for level in ("modality", "group"):
        for mean in means:
            if mean.level == level and len(mean.tasks) > 1 and all(name in left for name in mean.tasks):
                parts.append(f"all {len(mean.tasks)} of {mean.key}")
                for name in mean.tasks:
                    del left[name]
    return parts + list(left)


def missing_notes(
    missing: Mapping[str, tuple[str, ...]], means: Sequence[Mean], benchmark: str | None
) -> list[str]:
    """One sentence for every set of missing tasks, naming the columns that share it."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for column, names in missing.items():
        columns.setdefault(names, []).append(column)
    return [
        f"{plural(len(names), 'task')} of {benchmark} without a score"
        f" ({', '.join(who)}): {', '.join(compact(names, means))}"
        for names, who in columns.items()
    ]


def check_metrics(columns: Sequence[Column], tasks: Sequence[Task]) -> None:
    """DataError where two columns score one dataset by different main metrics."""
    for task in tasks:
        for column in columns:
            cell = column.cells.get(task.name)
            if cell is not None and cell.metric != task.metric:
                first = next(one.name for one in columns if task.name in one.cells)
                raise DataError(
                    f"dataset {task.name!r}: main metric {task.metric} of {first},"
                    f" {cell.metric} of {column.name}",
                    hint="score both with the same --main-metric",
                )


def unequal(columns: Sequence[Column], tasks: Sequence[Task]) -> list[str]:
    """Sentences on what differs between the evaluations of two columns, one for each thing that does.

    Published columns do not say how they were made; how many queries they had is in `other_notes`.
    """
    own = [column for column in columns if not column.published]
    notes = []
    for name, words in CONDITIONS.items():
        found = {}
        for task in tasks:
            known = {
                one.name: one.cells[task.name].conditions[name]
                for one in own
                if name in one.cells.get(task.name, NO_CELL).conditions
            }
            if len(set(known.values())) > 1:
                found[task.name] = known
        if found:
            task_name, known = next(iter(found.items()))
            first, value = next(iter(known.items()))
            other = next(one for one in known if known[one] != value)
            more = f", and so in {len(found) - 1} more" if len(found) > 1 else ""
            notes.append(
                f"dataset {task_name!r}: {first} and {other} were not scored on the same terms:"
                f" {words} ({name} {value} / {known[other]}){more}"
            )
    return notes


def other_notes(columns: Sequence[Column], tasks: Sequence[Task]) -> list[str]:
    """Sentences on fingerprints that differ inside a model and on counts that differ between models."""
    notes = [
        f"the scores of {column.name} come from {len(column.fingerprints)} different fingerprints:"
        f" {', '.join(column.fingerprints)}"
        for column in columns
        if len(column.fingerprints) > 1
    ]
    for what, words in (("num_queries", "queries"), ("num_candidates", "candidates")):
        unequal = []
        for task in tasks:
            counts = [getattr(one.cells[task.name], what) for one in columns if task.name in one.cells]
            distinct = list(dict.fromkeys(count for count in counts if count is not None))
            if len(distinct) > 1:
                unequal.append(f"{task.name} ({' / '.join(map(str, distinct))})")
        if unequal:
            more = f" and {len(unequal) - 5} more" if len(unequal) > 5 else ""
            notes.append(f"not the same {words}, compare with care: {', '.join(unequal[:5])}{more}")
    return notes
