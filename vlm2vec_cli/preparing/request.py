"""What a user of `prepare` asks for, and whether it makes sense for the source."""

import sys
from dataclasses import dataclass

from vlm2vec_cli.catalogue import MIXES
from vlm2vec_cli.errors import UsageError, nearest

TASKS = ("mmeb-v2", "mmeb-eval", "quickstart")
TRAINING = ("mmeb-train", "llava-hound", "colpali-train", "visrag-train", "hard-negatives", "mix")
CATALOGUED = (*TASKS, *TRAINING)
GIVEN = ("sgg", "beir", "files", "table")
SOURCES = (*CATALOGUED, *GIVEN)
USED_BY = {
    "FILE": ("sgg", "files", "table"),
    "--task": CATALOGUED,
    "--modality": CATALOGUED,
    "--task-type": CATALOGUED,
    "--in-domain": TASKS,
    "--ood": TASKS,
    "--list": CATALOGUED,
    "--root": tuple(one for one in SOURCES if one != "quickstart"),
    "--split": ("mmeb-v2", "mmeb-train", "hard-negatives", "quickstart", "beir"),
    "--dataset": GIVEN,
    "--role": ("files", "table"),
    "--instruction": ("files", "table"),
    "--map": ("table",),
    "--with-text": ("files",),
    "--preset": ("mix",),
    "--prompt": ("sgg",),
    "--predicates": ("sgg",),
    "--no-relation": ("sgg",),
    "--no-instruction": ("mmeb-v2", "quickstart"),
}
"""Which sources an option has a meaning for; for the others it is refused."""


@dataclass(frozen=True)
class Request:
    """What the user asks for. `names` are tasks or subsets, patterns allowed; `maps` the `--map` options.

    For `files` and `table` no path is stdin.
    `domain` is in, out or neither; `predicates` a file with the labels of a scene-graph set.
    """

    source: str
    paths: tuple[str, ...] = ()
    root: str | None = None
    names: tuple[str, ...] = ()
    modality: str | None = None
    task_type: str | None = None
    domain: str | None = None
    split: str | None = None
    side: str = "both"
    instructions: bool = True
    num_frames: int | None = None
    sample: int | None = None
    limit: int | None = None
    seed: int = 0
    dataset: str | None = None
    role: str | None = None
    instruction: str | None = None
    maps: tuple[str, ...] = ()
    with_text: bool = False
    preset: str | None = None
    prompt: str | None = None
    predicates: str | None = None
    no_relation: bool = False
    list: bool = False
    check: bool = False


def check(request: Request) -> None:
    """UsageError where an option does not fit the source or its value is none."""
    if request.source not in SOURCES:
        known = f"known: {', '.join(SOURCES)}"
        near = nearest(request.source, SOURCES)
        raise UsageError(f"unknown source {request.source!r}", hint=f"{near} {known}" if near else known)
    _check_uses(request)
    for option, value, allowed in (
        ("--side", request.side, ("query", "candidate", "both")),
        ("--role", request.role, ("query", "candidate")),
        ("--prompt", request.prompt, ("training", "evaluation")),
        ("--preset", request.preset, tuple(MIXES)),
    ):
        if value is not None and value not in allowed:
            raise UsageError(f"{option}: expected {_or(allowed)}, got {value!r}")
    if request.list and request.check:
        raise UsageError("--list and --check exclude each other")
    if request.source == "quickstart" and request.split not in (None, "test", "train"):
        raise UsageError(f"--split: quickstart has test and train, got {request.split!r}")
    rooted = request.source == "beir" or (request.source in CATALOGUED and request.source != "quickstart")
    if rooted and request.root is None and not request.list:
        raise UsageError(f"{request.source} needs --root DIR, the folder of its raw data")
    piped = request.source in ("files", "table")
    if request.source in USED_BY["FILE"] and not request.paths and (sys.stdin.isatty() or not piped):
        hint = f"vlm2vec prepare {request.source} PATH...{' or a pipe' * piped}"
        raise UsageError(f"{request.source} needs files", hint=hint)


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _check_uses(request: Request) -> None:
    given = {
        "FILE": request.paths,
        "--task": request.names,
        "--modality": request.modality,
        "--task-type": request.task_type,
        "--in-domain": request.domain == "in",
        "--ood": request.domain == "out",
        "--list": request.list,
        "--root": request.root,
        "--split": request.split,
        "--dataset": request.dataset,
        "--role": request.role,
        "--instruction": request.instruction,
        "--map": request.maps,
        "--with-text": request.with_text,
        "--preset": request.preset,
        "--prompt": request.prompt,
        "--predicates": request.predicates,
        "--no-relation": request.no_relation,
        "--no-instruction": not request.instructions,
    }
    for option, sources in USED_BY.items():
        if given[option] and request.source not in sources:
            raise UsageError(
                f"{option} has no use with {request.source}", hint=f"it is for {', '.join(sources)}"
            )
