"""Everything that was asked for, put into one Report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vlm2vec_cli import __version__, catalogue
from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.reporting import gate, layout, notes, published, tolerances
from vlm2vec_cli.reporting.collect import Scores
from vlm2vec_cli.reporting.gate import Limit
from vlm2vec_cli.reporting.per_query import PerQuery
from vlm2vec_cli.reporting.results import Column, Comparison, Paired, Report


@dataclass(frozen=True)
class Wishes:
    """What the command line asks of a report beside its scores."""

    title: str | None = None
    limits: Sequence[Limit] = ()
    gate: bool = False
    significant: bool = False
    allow_missing: bool = False
    allow_unequal: bool = False
    group_by: Sequence[str] = ()
    resamples: int = 10_000
    seed: int = 42
    command: str = ""


def limits(
    minima: Sequence[str], max_drops: Sequence[str], tolerance_file: str | None, *, wanted: bool
) -> list[Limit]:
    """The thresholds of options and file; UsageError for thresholds without --gate and the reverse."""
    flags = [gate.parse_min(text) for text in minima] + [gate.parse_max_drop(text) for text in max_drops]
    found = tolerances.merged(tolerances.read(tolerance_file) if tolerance_file else [], flags)
    if wanted and not found:
        raise UsageError("--gate has nothing to check", hint="give --min, --max-drop or --tolerance-file")
    if found and not wanted:
        raise UsageError("thresholds are only checked with --gate", hint="add --gate")
    return found


def compose(
    scores: Scores, baselines: Sequence[Scores | str], per_query: Mapping[int, PerQuery], wishes: Wishes
) -> Report:
    """The report; a baseline is score rows or a `published:` name, `per_query` is by column position."""
    columns, comparisons = columns_of(scores, baselines)
    facts = dict(scores.facts)
    for baseline in baselines:
        if isinstance(baseline, Scores):
            facts = {**baseline.facts, **facts}
    tasks, means, benchmark = layout.tasks_and_means(columns, facts, catalogue.tasks())
    means += layout.means_by(wishes.group_by, tasks, facts, catalogue.tasks())
    notes.check_metrics(columns, tasks)
    unequal = notes.unequal(columns, tasks)
    if unequal and not wishes.allow_unequal:
        hint = "compare scores of the same evaluation; --allow-unequal compares these and says so"
        raise DataError(unequal[0], hint=hint)
    missing = notes.missing_tasks([one for one in columns if not one.published], means, benchmark)
    report = Report(
        title=wishes.title or (f"{benchmark} scores" if benchmark else "Retrieval scores"),
        benchmark=benchmark,
        columns=tuple(columns),
        tasks=tuple(tasks),
        means=tuple(means),
        comparisons=tuple(comparisons),
        notes=tuple(
            notes.missing_notes(missing, means, benchmark) + unequal + notes.other_notes(columns, tasks)
        ),
        missing=missing,
        command=wishes.command,
        tool_version=__version__,
    )
    if wishes.significant:
        tests, untested = _paired(report, per_query, wishes)
        report = replace(report, paired=tests, notes=(*report.notes, *untested))
    if wishes.gate:
        checks = gate.check(
            report, wishes.limits, significant=wishes.significant, allow_missing=wishes.allow_missing
        )
        report = replace(report, checks=checks)
    return report


def columns_of(scores: Scores, baselines: Sequence[Scores | str]) -> tuple[list[Column], list[Comparison]]:
    """Baselines, then models, names made unique; and what is compared with what.

    A model is compared with its namesake in every baseline, or with the only model of that baseline. Two
    models without a baseline: the second with the first. Published columns keep only the datasets that
    were scored here, so that their means are over the same tasks.
    """
    groups = [_baseline_columns(one) for one in baselines]
    own = [one for group in [*groups, scores.columns] for one in group if not one.published]
    scored = {name for one in own for name in one.cells}
    groups = [[_only(one, scored) if one.published else one for one in group] for group in groups]
    columns = _unique([column for group in groups for column in group] + scores.columns)
    first = len(columns) - len(scores.columns)
    if not groups:
        return columns, [Comparison(1, 0)] if len(columns) == 2 else []
    comparisons = []
    for index in range(first, len(columns)):
        start = 0
        for group in groups:
            comparisons.append(Comparison(index, start + _reference(columns[index], group)))
            start += len(group)
    return columns, comparisons


def _baseline_columns(baseline: Scores | str) -> list[Column]:
    if isinstance(baseline, str):
        return [published.column(baseline, catalogue.published(), catalogue.tasks())]
    return baseline.columns


def _only(column: Column, names: set[str]) -> Column:
    return replace(column, cells={name: cell for name, cell in column.cells.items() if name in names})


def _reference(column: Column, group: Sequence[Column]) -> int:
    if len(group) == 1:
        return 0
    namesakes = [index for index, one in enumerate(group) if one.model == column.model]
    alike = [index for index in namesakes if group[index].stored == column.stored]
    if alike or len(namesakes) == 1:
        return (alike or namesakes)[0]
    raise DataError(
        f"holds {len(group)} models, none of them {column.model!r}",
        place=", ".join(dict.fromkeys(source for one in group for source in one.sources)),
        hint="a baseline of several models must have the model that is compared",
    )


def _unique(columns: Iterable[Column]) -> list[Column]:
    """The columns with file names, then numbers, behind names that occur twice; models keep theirs."""
    result: list[Column] = []
    taken: set[str] = set()
    ordered = list(columns)
    models = {one.name for one in ordered if not one.baseline}
    for one in ordered:
        name = one.name
        if one.baseline and (name in models or name in taken):
            name = f"{one.model} [{', '.join(one.sources)}]"
        number = 2
        while name in taken:
            name, number = f"{one.model} [{number}]", number + 1
        taken.add(name)
        result.append(replace(one, name=name))
    return result


def _paired(
    report: Report, per_query: Mapping[int, PerQuery], wishes: Wishes
) -> tuple[dict[tuple[Comparison, str], Paired], list[str]]:
    """Paired tests of every dataset and mean that both sides have queries of, and notes on the others."""
    testable = [one for one in report.comparisons if not report.columns[one.reference].published]
    if not testable:
        fact = (
            "published scores have no values a query"
            if report.comparisons
            else "there is nothing to compare with"
        )
        raise UsageError(f"--significant: {fact}", hint="add --baseline FILE or a second model")
    results: dict[tuple[Comparison, str], Paired] = {}
    untested = []
    for comparison in testable:
        sides = [_side(report, per_query, one) for one in (comparison.column, comparison.reference)]
        tests = _tests(report, comparison, sides, wishes)
        results |= {(comparison, name): test for name, test in tests.items()}
        common = report.common(comparison, [task.name for task in report.tasks])
        left = [name for name in common if name not in tests]
        if left:
            of = report.columns[comparison.column].name
            names = ", ".join(notes.compact(left, report.means))
            untested.append(f"--significant could not test {of} on {names}: no main metric by query")
    return results, untested


def _tests(
    report: Report, comparison: Comparison, sides: Sequence[PerQuery], wishes: Wishes
) -> dict[str, Paired]:
    """Of one comparison, by dataset and `Mean.tested_as`; means over the same datasets are one test."""
    from vlm2vec_cli.reporting import paired

    parts: dict[str, paired.Differences] = {}
    for task in report.tasks:
        one, other = (side.outcomes(task.name, task.metric) for side in sides)
        if one is not None and other is not None:
            parts[task.name] = paired.differences(
                task.name, one.by_query(), other.by_query(), resamples=wishes.resamples, seed=wishes.seed
            )
    common = {mean.tested_as: tuple(report.common(comparison, mean.tasks)) for mean in report.means}
    wanted = [names for names in dict.fromkeys(common.values()) if names and parts.keys() >= set(names)]
    of_means = paired.adjusted({names: paired.test([parts[name] for name in names]) for names in wanted})
    of_tasks = paired.adjusted({name: paired.test([part]) for name, part in parts.items()})
    return of_tasks | {key: of_means[names] for key, names in common.items() if names in of_means}


def _side(report: Report, per_query: Mapping[int, PerQuery], position: int) -> PerQuery:
    if position not in per_query:
        raise UsageError(
            f"--significant needs the per-query file of {report.columns[position].name}",
            hint="write it with `vlm2vec score --per-query FILE` and give it with --per-query FILE",
        )
    return per_query[position]
