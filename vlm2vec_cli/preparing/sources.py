"""What a source is made of: its datasets, their kind of row, and the folder they lie under."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec_cli import catalogue, plugins
from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import MissingError
from vlm2vec_cli.media.locate import quickstart_root
from vlm2vec_cli.preparing.request import TRAINING, Request
from vlm2vec_cli.schemas.base import Kind
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.streams import opening, read_lines

DEFAULT_MIX = "vlm2vec-v2"


@contextmanager
def permitted() -> Iterator[None]:
    """MissingError for what of the raw data may not be read."""
    try:
        yield
    except PermissionError as error:
        raise MissingError(f"cannot be read: {error.strerror}", place=str(error.filename)) from error


@dataclass(frozen=True)
class Contents:
    """The datasets of a source by name. `shipped` is the folder in the package, where they lie there."""

    kind: Kind
    known: dict[str, Entry]
    root: Path
    split: str | None = None
    shipped: Path | None = None


def contents(request: Request) -> Contents:
    """What the source of a request is made of. MissingError without its root."""
    if request.source == "quickstart":
        return _quickstart(train=request.split == "train")
    root = Path(request.root or ".")
    if not os.path.isdir(root):
        raise MissingError("no such folder", place=str(root))
    with permitted():
        return _under(root, request)


def _under(root: Path, request: Request) -> Contents:
    kind = PAIR if request.source in TRAINING else ITEM
    if request.source == "mmeb-v2":
        known = catalogue.tasks()
    elif request.source == "mmeb-eval":
        known = catalogue.first_tasks()
    elif request.source == "mmeb-train":
        known = _subsets(root) if request.root else catalogue.train_sources("mmeb-train")
    elif request.source == "hard-negatives":
        known = catalogue.hard_negatives()
    elif request.source == "mix":
        known = catalogue.mix(request.preset or DEFAULT_MIX)
    elif request.source in TRAINING:
        known = catalogue.train_sources(request.source)
    else:
        entry = _open_entry(request, root)
        if request.source in ("sgg", "table"):  # what it is asked for decides
            kind = plugins.load("readers", request.source).kind(entry)
        known = {entry["name"]: entry}
    return Contents(kind, known, root, request.split)


def home(root: Path, entry: Entry) -> Path:
    """The folder of a dataset's files: the one it was cloned into, where that is under the root, or it."""
    return next((root / one for one in entry.get("homes", ()) if (root / one).is_dir()), root)


def _quickstart(*, train: bool) -> Contents:
    root = quickstart_root()
    known = catalogue.load(root / "tasks.json", "train" if train else "tasks")
    kind, folder = (PAIR, "mmeb-train") if train else (ITEM, "mmeb-v2")
    return Contents(kind, known, root / folder, shipped=root)


def _open_entry(request: Request, root: Path) -> Entry:
    """The entry of a source without a catalogue."""
    entry: dict[str, Any] = {"name": request.dataset or "default", "parser": request.source}
    if request.source == "beir":
        return {**entry, "name": request.dataset or root.resolve().name, "eval_type": "global"}
    if request.source == "sgg":
        settings = {"prompt": request.prompt, "predicates": request.predicates}
        return {
            **entry,
            **{name: value for name, value in settings.items() if value},
            "name": request.dataset or "sgg",
            "paths": request.paths,
            "no_relation": request.no_relation,
            "eval_type": "global",
        }
    paths = request.paths or (opening.STDIN,)
    entry.update(paths=paths, instruction=request.instruction, role=request.role, mixed=True)
    if request.source == "files":
        role = request.role or "candidate"
        return {**entry, "paths": _listed(paths), "role": role, "with_text": request.with_text}
    return {**entry, "maps": request.maps, "rooted": request.root is not None}


def _listed(paths: Iterable[str]) -> Iterable[str]:
    """The paths, those in stdin's lines for "-"."""
    for path in paths:
        if path == opening.STDIN:
            yield from (line for _, line in read_lines(path))
        else:
            yield path


def _subsets(root: Path) -> dict[str, Entry]:
    """The subsets of MMEB-train, then other folders under the root that look like subsets."""
    known = catalogue.train_sources("mmeb-train")
    top = home(root, next(iter(known.values())))
    hf = {"repo": "TIGER-Lab/MMEB-train", "config": None, "split": "original"}
    others = sorted({path.parent.name for path in top.glob("*/*.parquet")} - set(known))
    shape = {"modality": "image", "group": None, "task_type": None, "parser": "mmeb_train", "hf": hf}
    own = catalogue.by_name({"name": name, **shape} for name in others)
    return {**known, **{name: {**one, "homes": ["MMEB-train"]} for name, one in own.items()}}
