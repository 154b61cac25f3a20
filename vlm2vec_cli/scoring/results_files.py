"""Finished scores of other tools -> score rows.

    MMEB evaluation  TASK_score.json: {"hit@1": 0.5, ..., "num_data": 4}; the folder is the model
                     a report: {"metadata": {"model_name": ...}, "metrics": {"image": {TASK: {...}}}}
    mteb             TASK.json with `task_name` and `scores`; `model_meta.json` beside it names the model

Folders are searched. A task of mteb with several splits and subsets is their plain mean. What is no number in
0..1, or no metric known here, is left out; a task whose file was missing ("FILE_N/A") is named.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from pathlib import Path
from typing import Any, Final

import orjson

from vlm2vec_cli import catalogue, metrics
from vlm2vec_cli.errors import DataError, MissingError, UsageError
from vlm2vec_cli.schemas import checks
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.scoring.dataset import FACTS, named

log = logging.getLogger(__name__)

SUFFIX: Final = "_score.json"
META: Final = "model_meta.json"
LIKELY: Final = ("hit@1", "ndcg_linear@10", "ndcg_linear@5")
"""Main metrics, by likelihood, where the file gives just a number for it."""

FROM_MTEB: Final = {"map": "ap", "mmeb_map": "map", "hit_rate": "hit", "ndcg": "ndcg_linear"}
TO_MTEB: Final = {ours: theirs for theirs, ours in FROM_MTEB.items()}
"""Metrics under other names: the reference's `map` divides by what k allows, trec_eval's, `ap`, by all."""


def rows(paths: Sequence[str]) -> Iterator[Row]:
    """Score rows of files and folders. DataError where something is no scores, MissingError for nothing."""
    for path in paths:
        found = 0
        for file in _files(path):
            for row in _of_file(file, must=file == Path(path)):
                found += 1
                yield SCORE.parse(row, str(found))
        if not found:
            raise DataError("no scores", place=path, hint=f"such as TASK{SUFFIX}, or the JSON files of mteb")


def _files(path: str) -> list[Path]:
    given = Path(path)
    if not given.exists():
        raise MissingError("no such file or folder", place=path)
    return sorted(given.rglob("*.json")) if given.is_dir() else [given]


def _of_file(path: Path, *, must: bool) -> list[Row]:
    """The rows of one file; of a folder's other JSON files none."""
    try:
        content = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", place=str(path)) from None
    try:
        if isinstance(content, dict) and isinstance(content.get("scores"), dict) and "task_name" in content:
            return [_of_mteb(content, _model_of_mteb(path))]
        if isinstance(content, dict) and isinstance(content.get("metrics"), dict) and "metadata" in content:
            return _of_report(content, path)
        if path.name.endswith(SUFFIX) and isinstance(content, dict):
            name = path.name.removesuffix(SUFFIX)
            return [_row(name, content, _model_of_folder(path), content.get("num_data"))]
    except DataError as error:
        raise error.at(str(path)) from None
    if must:
        raise DataError("neither scores of the MMEB evaluation nor of mteb", place=str(path))
    return []


def _of_report(content: Mapping[str, Any], path: Path) -> list[Row]:
    model = str(_object(content["metadata"], "metadata").get("model_name") or path.stem)
    found, absent = [], []
    for modality, tasks in content["metrics"].items():
        for name, scores in _object(tasks, f"metrics.{modality}").items():
            if isinstance(scores, dict):
                found.append(_row(name, scores, model, scores.get("num_data")))
            else:
                absent.append(name)
    if absent:
        log.warning("%s: no score of %s", path, named("task", absent))
    return found


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{name}: expected an object, got {checks.named(value)}")
    return value


def _row(dataset: str, scores: Mapping[str, Any], model: str, count: Any) -> Row:
    known = catalogue.tasks().get(dataset, {})
    values = _measured({name: [value] for name, value in scores.items()})
    asked = str(known.get("main_metric", LIKELY[0]))
    if asked not in values:
        raise DataError(f"dataset {dataset!r} has no {asked}")
    row: Row = {"dataset": dataset, **_facts(known), "model": model}
    if isinstance(count, int):
        row["num_queries"] = count
    return row | {"main_metric": asked, "main_score": values[asked], "metrics": values}


def _of_mteb(content: Mapping[str, Any], model: tuple[str, str | None]) -> Row:
    dataset = str(content["task_name"])
    parts = [
        _object(one, f"scores.{split}")
        for split, several in content["scores"].items()
        for one in (several if isinstance(several, list) else [several])
    ]
    if not parts or not all(isinstance(one.get("main_score"), int | float) for one in parts):
        raise DataError(f"dataset {dataset!r} has no main_score")
    known = catalogue.tasks().get(dataset, {})
    shared = {name: [one[name] for one in parts] for name in parts[0] if all(name in one for one in parts)}
    main = fsum(shared["main_score"]) / len(parts)
    values = _measured({_canonical(name): several for name, several in shared.items()})
    likely = [str(known["main_metric"])] if known else []
    equal = [name for name in (*likely, *LIKELY, *values) if values.get(name) == main]
    metric = equal[0] if equal else "main_score"
    row: Row = {"dataset": dataset, **_facts(known), "model": model[0]}
    if model[1]:
        row["revision"] = model[1]
    return row | {"main_metric": metric, "main_score": main, "metrics": {metric: main, **values}}


def _measured(several: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Means of what are metrics and fractions, under canonical names."""
    values = {}
    for name, numbers in several.items():
        try:
            canonical = metrics.parse(name).name
        except UsageError:
            continue
        if all(isinstance(one, int | float) and 0 <= one <= 1 for one in numbers):
            values[canonical] = fsum(numbers) / len(numbers)
    return values


def _canonical(name: str) -> str:
    base, _, k = name.partition("_at_")
    return f"{FROM_MTEB.get(base, base)}@{k}" if k else base


def mteb_name(name: str) -> str:
    """What mteb calls a metric: `ndcg_linear@5` is `ndcg_at_5` there."""
    base, _, k = name.partition("@")
    base = TO_MTEB.get(base, base)
    return f"{base}_at_{k}" if k else base


def _facts(known: Mapping[str, Any]) -> Row:
    return {name: str(known[name]) for name in FACTS[:3] if name in known}


def _model_of_folder(path: Path) -> str:
    """The reference writes MODEL/MODALITY/TASK_score.json."""
    folder = path.absolute().parent
    return (folder.parent if folder.name in ("image", "video", "visdoc") else folder).name


def _model_of_mteb(path: Path) -> tuple[str, str | None]:
    """Name and revision from `model_meta.json`, else from the folders MODEL/REVISION."""
    meta = path.parent / META
    if meta.exists():
        try:
            content = orjson.loads(meta.read_bytes())
        except orjson.JSONDecodeError as error:
            raise DataError(f"not JSON: {error.msg}", place=str(meta)) from None
        if isinstance(content, dict) and content.get("name"):
            return str(content["name"]), content.get("revision")
    folder = path.absolute().parent
    return folder.parent.name.replace("__", "/"), folder.name


def mteb_files(score_rows: Sequence[Row]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and content of each file that mteb reads: MODEL/REVISION/TASK.json with a model_meta.json."""
    seen: set[str] = set()
    for row in score_rows:
        model = str(row.get("model", "unknown"))
        revision = str(row.get("revision") or row.get("fingerprint") or "no_revision_available")
        folder = f"{_safe(model)}/{_safe(revision)}"
        if folder not in seen:
            seen.add(folder)
            yield f"{folder}/{META}", {"name": model, "revision": revision}
        path = f"{folder}/{_safe(row['dataset'])}.json"
        if path in seen:
            raise DataError(
                f"dataset {row['dataset']!r} of {model!r} has several scores, mteb holds one",
                hint="one --dim and --precision at a time",
            )
        seen.add(path)
        yield path, mteb_result(row)


def mteb_result(row: Mapping[str, Any]) -> dict[str, Any]:
    """One task as mteb's TaskResult has it; the split is called test, its one subset default."""
    values = {mteb_name(name): value for name, value in row["metrics"].items()}
    entry = {**values, "main_score": row["main_score"], "hf_subset": "default", "languages": ["eng-Latn"]}
    return {
        "dataset_revision": str(row.get("data_digest", "unknown")),
        "task_name": row["dataset"],
        "mteb_version": None,
        "scores": {"test": [entry]},
        "evaluation_time": None,
        "kg_co2_emissions": None,
    }


def _safe(name: str) -> str:
    return name.replace("/", "__").replace("\\", "__").lstrip(".") or "_"
