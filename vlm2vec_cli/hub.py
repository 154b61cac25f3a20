"""Where the folder behind a model's name is: on disk, in this package, or on the hub."""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path

from vlm2vec_cli import adapters, released
from vlm2vec_cli.errors import UnavailableError

log = logging.getLogger(__name__)

_DOWNLOAD = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.jinja", "*.model"]
SHIPPED = "quickstart"
HUB_ID = r"\w[\w.-]*/\w[\w.-]*"


def described(name: str, revision: str | None, entry: released.Entry) -> tuple[Path, str | None]:
    """As `folder`; where no revision is asked for, the one that was described, if it can be had."""
    pinned = entry.get("revision")
    if revision is not None or pinned is None or Path(name).is_dir():
        return folder(name, revision)
    with contextlib.suppress(UnavailableError):
        return folder(name, pinned)
    found = folder(name, None)
    log.warning("%s: revision %s, which is described, cannot be fetched; taking %s", name, pinned, found[1])
    return found


def folder(name: str, revision: str | None) -> tuple[Path, str | None]:
    """A local folder as it is, the shipped model, or a hub snapshot (from the cache when offline)."""
    if name == SHIPPED:  # a folder of that name is ./quickstart
        from importlib.resources import files

        return Path(str(files("vlm2vec_cli.quickstart"))) / "checkpoint", None
    if name and Path(name).is_dir():
        return Path(name), revision
    if not re.fullmatch(HUB_ID, name):
        raise UnavailableError(
            "no such model folder",
            place=name,
            hint="give a folder, a hub id like ORGANISATION/NAME, tiny or quickstart",
        )
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=_DOWNLOAD))
    except Exception as error:  # the hub client raises a dozen unrelated types for "not reachable"
        raise UnavailableError(
            f"cannot be fetched from the hub: {adapters.first_line(error)}",
            place=name,
            hint="check the name, or give a local folder",
        ) from None
    return path, path.name
