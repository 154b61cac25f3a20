"""What a user of `prepare` asks for, and whether it makes sense for the source."""

from dataclasses import dataclass

from vlm2vec_cli.errors import UsageError, nearest

SOURCES = ("mmeb-v2", "mmeb-train", "quickstart", "beir", "files", "table")
CATALOGUED = SOURCES[:3]
USED_BY = {
    "FILE": ("files", "table"),
    "--task": CATALOGUED,
    "--list": CATALOGUED,
    "--root": ("mmeb-v2", "mmeb-train", "beir", "files", "table"),
    "--split": ("mmeb-v2", "mmeb-train", "quickstart", "beir"),
    "--dataset": ("beir", "files", "table"),
    "--role": ("files", "table"),
    "--instruction": ("files", "table"),
    "--map": ("table",),
    "--no-instruction": ("mmeb-v2", "quickstart"),
}
"""Which sources an option has a meaning for; for the others it is refused."""


@dataclass(frozen=True)
class Request:
    """What the user asks for. `names` are tasks or subsets, patterns allowed; `maps` the `--map` options."""

    source: str
    paths: tuple[str, ...] = ()
    root: str | None = None
    names: tuple[str, ...] = ()
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
    list: bool = False


def check(request: Request) -> None:
    """UsageError where an option does not fit the source or its value is none."""
    if request.source not in SOURCES:
        known = f"known: {', '.join(SOURCES)}"
        near = nearest(request.source, SOURCES)
        raise UsageError(f"unknown source {request.source!r}", hint=f"{near} {known}" if near else known)
    given = {
        "FILE": request.paths,
        "--task": request.names,
        "--list": request.list,
        "--root": request.root,
        "--split": request.split,
        "--dataset": request.dataset,
        "--role": request.role,
        "--instruction": request.instruction,
        "--map": request.maps,
        "--no-instruction": not request.instructions,
    }
    for option, sources in USED_BY.items():
        if given[option] and request.source not in sources:
            raise UsageError(
                f"{option} has no use with {request.source}", hint=f"it is for {', '.join(sources)}"
            )
    if request.side not in ("query", "candidate", "both"):
        raise UsageError(f"--side: expected query, candidate or both, got {request.side!r}")
    if request.role not in (None, "query", "candidate"):
        raise UsageError(f"--role: expected query or candidate, got {request.role!r}")
    if request.source == "quickstart" and request.split not in (None, "test", "train"):
        raise UsageError(f"--split: quickstart has test and train, got {request.split!r}")
    if request.root is None and request.source in ("mmeb-v2", "mmeb-train", "beir") and not request.list:
        raise UsageError(f"{request.source} needs --root DIR, the folder of its raw data")
    if request.source in ("files", "table") and not request.paths:
        raise UsageError(
            f"{request.source} needs files", hint=f"vlm2vec prepare {request.source} PATH...; - is stdin"
        )
