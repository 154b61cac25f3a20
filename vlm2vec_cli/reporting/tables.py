"""What every table shows, whatever it is written in: which means, which heads, which texts in the cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm2vec_cli.reporting.numbers import ABSENT, half_width, percent, printable, signed
from vlm2vec_cli.reporting.results import Column, Comparison, Mean, Report, Task


@dataclass(frozen=True, slots=True)
class Heads:
    """Short column heads, heads of the differences, and sentences on what the heads stand for."""

    columns: tuple[str, ...]
    differences: tuple[str, ...]
    legend: tuple[str, ...]


def heads(report: Report, *, longest: int = 32) -> Heads:
    """Names as heads where they are short, else their last part, else numbers; the legend explains those."""
    names = [printable(column.name) for column in report.columns]
    short = short_names(report)
    if any(len(name) > longest for name in short):
        short = [f"[{number}]" for number in range(1, len(names) + 1)]
    if len(report.comparisons) == 1:
        differences = ["diff"]
    else:
        differences = [f"{short[one.column]} - {short[one.reference]}" for one in report.comparisons]
    legend = []
    for head, name, column in zip(short, names, report.columns, strict=True):
        if head != name:
            legend.append(f"{head} = {name}{' (baseline)' if column.baseline else ''}")
        elif column.baseline:
            legend.append(f"{head} is the baseline")
    return Heads(tuple(short), tuple(differences), tuple(legend))


def short_names(report: Report) -> list[str]:
    """The last parts of paths and hub ids, published names without version, where they stay different.

    Several sizes of one model are named by their size alone.
    """
    sizes = [column.stored.label for column in report.columns if column.stored is not None]
    one_model = len({column.model for column in report.columns}) == 1
    if one_model and len(set(sizes)) == len(report.columns) > 1:
        return sizes
    ends = [
        printable(column.model if column.published else column.name).rstrip("/").rpartition("/")[2]
        for column in report.columns
    ]
    full = [printable(column.name) for column in report.columns]
    return [end if end and ends.count(end) == 1 else name for end, name in zip(ends, full, strict=True)]


def shown_means(report: Report) -> list[Mean]:
    """Means that some column has a task of: each modality before its groups, overall ones last of theirs."""
    ordered: list[Mean] = []
    groups: list[Mean] = []
    for mean in report.means:
        if not any(report.mean(column, mean).found for column in report.columns):
            continue
        if mean.inner:
            groups.append(mean)
        else:
            ordered += [mean, *groups]
            groups = []
    return ordered + groups


def same_counts(report: Report, mean: Mean) -> bool:
    """Whether all columns average over equally many tasks."""
    return len({report.mean(column, mean).found for column in report.columns}) == 1


def counts(report: Report, mean: Mean) -> str:
    """Tasks found and expected; fewest and most found where the columns differ."""
    found = [report.mean(column, mean).found for column in report.columns]
    least, most = min(found), max(found)
    return f"{least}-{most}/{len(mean.tasks)}" if least < most else f"{most}/{len(mean.tasks)}"


def extent(report: Report, mean: Mean) -> str:
    """How many tasks a mean is over, in words: "36 tasks", "14 to 36 of 36 tasks"."""
    text = counts(report, mean)
    if text == f"{len(mean.tasks)}/{len(mean.tasks)}":
        return _plural(len(mean.tasks), "task")
    return f"{text.replace('-', ' to ').replace('/', ' of ')} tasks"


def mean_cells(report: Report, mean: Mean) -> list[str]:
    """The mean of every column."""
    return [percent(report.mean(column, mean).value) for column in report.columns]


def task_cells(columns: Sequence[Column], task: Task, *, intervals: str | None) -> list[str]:
    """The main score of every column, with its half interval behind `intervals` (such as " +-")."""
    texts = []
    for column in columns:
        cell = column.cells.get(task.name)
        text = ABSENT if cell is None else percent(cell.value)
        width = half_width(cell.value, cell.interval) if cell is not None else ""
        texts.append(text + (intervals + width if intervals and width else ""))
    return texts


def difference_cell(
    report: Report, comparison: Comparison, key: str, names: Sequence[str], mark: str = "*"
) -> str:
    """A difference in points, marked where the paired test of `key` found it significant."""
    text = signed(report.difference(comparison, names))
    test = report.paired.get((comparison, key))
    return text + mark if test is not None and test.significant else text


def queries(report: Report, task: Task) -> str:
    """The number of queries, where all columns agree on one; else the numbers."""
    numbers = [column.cells[task.name].num_queries for column in report.columns if task.name in column.cells]
    distinct = list(dict.fromkeys(number for number in numbers if number is not None))
    return "/".join(map(str, distinct)) or ABSENT


def headline(report: Report) -> str:
    """How much was scored, such as "MMEB-V2, 5 of 78 tasks, 2 models"."""
    parts = []
    if report.benchmark:
        overall = next(mean for mean in report.means if mean.key == "overall")
        of = "" if report.benchmark in report.title else f" of {report.benchmark}"
        parts.append(f"{_range(report.models, overall.tasks)} of {len(overall.tasks)} tasks{of}")
    own = [task.name for task in report.tasks if not task.listed]
    if own:
        noun = "other dataset" if report.benchmark else "dataset"
        found = _range(report.models, own)
        parts.append(f"{found} {noun}{'' if found == '1' or len(own) == 1 else 's'}")
    parts.append(_plural(len(report.models), "model"))
    baselines = len(report.columns) - len(report.models)
    if baselines:
        parts.append(_plural(baselines, "baseline"))
    return ", ".join(parts)


def _range(columns: Sequence[Column], names: Sequence[str]) -> str:
    """How many of `names` the columns have: one number, or the fewest and the most."""
    found = sorted({sum(name in column.cells for name in names) for column in columns})
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def gate_line(report: Report) -> str:
    """The gate's verdict in one sentence."""
    checks, failed = report.checks or (), report.failures
    if failed:
        return f"{len(failed)} of {_plural(len(checks), 'check')} failed"
    return f"all {_plural(len(checks), 'check')} passed" if checks else "nothing was checked"


def check_lines(report: Report) -> list[str]:
    """The failed checks as sentences, with the model where there are several."""
    lines = []
    for one in report.failures:
        who = [one.column] if len(report.models) > 1 else []
        if one.reference and len(report.columns) - len(report.models) > 1:
            who.append(f"against {one.reference}")
        lines.append(printable(f"{one.fact} ({', '.join(who)})" if who else one.fact))
    return lines


def detectable_lines(report: Report) -> list[str]:
    """For each tested comparison, how small a difference its queries would have shown."""
    overall_key = next((mean.tested_as for mean in report.means if mean.key == "overall"), None)
    lines = []
    for comparison in report.comparisons:
        tests = {name: test for (of, name), test in report.paired.items() if of == comparison}
        tasks = [tests[task.name].detectable for task in report.tasks if task.name in tests]
        if not tasks:
            continue
        least, most = min(tasks), max(tasks)
        span = signed(least).lstrip("+") + (f" to {signed(most).lstrip('+')}" if most > least else "")
        overall = tests.get(overall_key) if overall_key else None
        mean = f", of {signed(overall.detectable).lstrip('+')} in the overall mean" if overall else ""
        who = f" ({report.columns[comparison.column].name})" if len(report.comparisons) > 1 else ""
        lines.append(
            f"differences of {span} points in a task{mean} would have shown in 4 of 5 evaluations{who}"
        )
    return lines


MARKED = (
    "* significant: paired permutation test over queries, p < 0.05 after Holm's correction"
    " over datasets, and over means"
)
