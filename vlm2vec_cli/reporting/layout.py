"""Tasks in their order and the means over them.

A benchmark is recognised by a single one of its tasks; its tasks, groups and expected counts then come
from the catalogue, so that a mean over half of a group says so. All other datasets are grouped by the
`modality` and `group` (else `task_type`) fields of their rows, and expected is what any column has.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.reporting.results import Column, Mean, Task

BENCHMARK = "MMEB-V2"

MODALITIES = {"image": "Image", "video": "Video", "visdoc": "Visual documents"}

GROUPS = {
    "I-CLS": "CLS",
    "I-QA": "QA",
    "I-RET": "RET",
    "I-VG": "VG",
    "V-CLS": "CLS",
    "V-QA": "QA",
    "V-RET": "RET",
    "V-MRET": "MRET",
    "VDRv1": "VDR v1",
    "VDRv2": "VDR v2",
    "VisRAG": "VisRAG",
    "VD-OOD": "OOD",
}
"""Group keys of the catalogue, in the paper's order, with the paper's column heads."""

DOMAINS = {"in-domain": ("I-IND", "in-domain"), "out-of-domain": ("I-OOD", "out-of-domain")}
"""How the catalogue calls the two sides of V1's split: key and label of their means."""


def modality_label(modality: str) -> str:
    """The words for a modality in headings."""
    return MODALITIES.get(modality, modality[:1].upper() + modality[1:])


def tasks_and_means(
    columns: Sequence[Column],
    facts: Mapping[str, Mapping[str, str]],
    catalogue: Mapping[str, Mapping[str, Any]],
) -> tuple[list[Task], list[Mean], str | None]:
    """Tasks that any column has, all means, and the benchmark's name where it is recognised."""
    scored = [name for column in columns if not column.published for name in column.cells]
    recognised = any(name in catalogue for name in scored)
    metrics = {name: cell.metric for column in reversed(columns) for name, cell in column.cells.items()}
    listed = []
    if recognised:
        order = list(GROUPS)
        known = [name for name in catalogue if name in metrics]
        for name in sorted(known, key=lambda name: _position(order, str(catalogue[name]["group"]))):
            entry = catalogue[name]
            group, kind = str(entry["group"]), str(entry.get("task_type", ""))
            listed.append(Task(name, str(entry["modality"]), group, kind, metrics[name], listed=True))
    taken = {task.name for task in listed}
    others = _other_tasks([name for name in dict.fromkeys(scored) if name not in taken], facts, metrics)
    means = _benchmark_means(catalogue) if recognised else []
    if others:
        means += _other_means(others, mixed=recognised)
    return listed + others, means, BENCHMARK if recognised else None


def _position(order: Sequence[str], key: str) -> int:
    return order.index(key) if key in order else len(order)


def _benchmark_means(catalogue: Mapping[str, Mapping[str, Any]]) -> list[Mean]:
    means = []
    for modality in dict.fromkeys(str(entry["modality"]) for entry in catalogue.values()):
        members = {
            name: str(entry["group"]) for name, entry in catalogue.items() if entry["modality"] == modality
        }
        for group in sorted(
            dict.fromkeys(members.values()), key=lambda group: _position(list(GROUPS), group)
        ):
            names = tuple(name for name, own in members.items() if own == group)
            means.append(Mean(group, GROUPS.get(group, group), "group", modality, names))
        means += _domain_means(catalogue, modality, members)
        means.append(Mean(modality, modality_label(modality), "modality", modality, tuple(members)))
    return [*means, Mean("overall", "Overall", "overall", "", tuple(catalogue))]


def _domain_means(
    catalogue: Mapping[str, Mapping[str, Any]], modality: str, members: Iterable[str]
) -> list[Mean]:
    """The split of MMEB V1: tasks whose training set was trained on, and all others."""
    means = []
    for domain, (key, label) in DOMAINS.items() if modality == "image" else ():
        names = tuple(name for name in members if catalogue[name].get("domain") == domain)
        if names:
            means.append(Mean(key, label, "split", modality, names))
    return means


def means_by(
    fields: Sequence[str],
    tasks: Sequence[Task],
    facts: Mapping[str, Mapping[str, str]],
    catalogue: Mapping[str, Mapping[str, Any]],
) -> list[Mean]:
    """A mean over the tasks of each value of a field of the rows, else of the catalogue.

    UsageError for a field that no task has.
    """
    means = []
    for field in fields:
        values: dict[str, list[str]] = {}
        for task in tasks:
            value = facts.get(task.name, {}).get(field) or catalogue.get(task.name, {}).get(field)
            if isinstance(value, str | int):
                values.setdefault(str(value), []).append(task.name)
        if not values:
            known = {
                name
                for task in tasks
                for source in (facts.get(task.name, {}), catalogue.get(task.name, {}))
                for name, value in source.items()
                if isinstance(value, str) and name != "name"
            }
            hint = nearest(field, known) or f"fields are {', '.join(sorted(known))}"
            raise UsageError(f"no score has the field {field!r}", place="--group-by", hint=hint)
        means += [
            Mean(f"{field}={value}", f"{field}: {value}", "split", "", tuple(names))
            for value, names in values.items()
        ]
    return means


def _other_tasks(
    names: Iterable[str], facts: Mapping[str, Mapping[str, str]], metrics: Mapping[str, str]
) -> list[Task]:
    tasks = []
    for name in names:
        own = facts.get(name, {})
        kind = own.get("task_type", "")
        tasks.append(Task(name, own.get("modality", ""), own.get("group", "") or kind, kind, metrics[name]))
    modalities = [*MODALITIES, *dict.fromkeys(task.modality for task in tasks)]
    groups = list(dict.fromkeys(task.group for task in tasks))
    return sorted(tasks, key=lambda task: (modalities.index(task.modality), groups.index(task.group)))


def _other_means(tasks: Sequence[Task], *, mixed: bool) -> list[Mean]:
    """Means over datasets outside the benchmark; beside a benchmark their keys start with `other`."""
    before = "other/" if mixed else ""
    means = []
    for modality in dict.fromkeys(task.modality for task in tasks):
        members = [task for task in tasks if task.modality == modality]
        groups = list(dict.fromkeys(task.group for task in members))
        prefix = before + (f"{modality}/" if modality else "")
        for group in groups:
            names = tuple(task.name for task in members if task.group == group)
            if group and len(groups) > 1:
                means.append(Mean(prefix + group, group, "group", modality, names))
        if modality:
            names = tuple(task.name for task in members)
            label = modality_label(modality)
            means.append(
                Mean(before + modality, f"Other: {label}" if mixed else label, "modality", modality, names)
            )
    everything = tuple(task.name for task in tasks)
    key, label = ("other", "Other datasets") if mixed else ("overall", "Overall")
    return [*means, Mean(key, label, "overall", "", everything)]
