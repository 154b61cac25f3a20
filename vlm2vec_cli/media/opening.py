"""From a reference to what it leads to, under the limits of a policy; nothing is decoded here."""

import os
from functools import partial
from pathlib import Path

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media import archives, cells, locate, remote
from vlm2vec_cli.media.handles import Handles
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.sampling import frame_names
from vlm2vec_cli.media.sources import Blob, LocalFile, Several, Single, file_stamp
from vlm2vec_cli.schemas.media_ref import QUICKSTART, MediaRef, parse, shown


def open_reference(
    ref: str, root: Path, policy: MediaPolicy, handles: Handles, *, in_cell: bool = False
) -> tuple[MediaRef, Single | Several]:
    """The reference taken apart, and its source.

    Raises DataError or MissingError with neither place nor the reference's name. `in_cell`: the reference was
    itself found in a Parquet cell, and may not lead to another one.
    """
    trust = policy.trust_paths
    if ref.startswith(QUICKSTART):
        root, trust = locate.quickstart_root(), False
    parsed = parse(ref, partial(locate.is_file, root, trust=trust))
    if parsed.scheme == "data":
        return parsed, Blob(partial(remote.data_uri, parsed.path, policy.max_bytes))
    if parsed.scheme == "http":
        return parsed, Blob(partial(_fetch, parsed.path, policy))
    real = locate.within(root, parsed.path, trust=trust)
    if not os.path.exists(real):
        raise locate.missing(root, parsed.path, real)
    if os.path.isdir(real):
        if parsed.container is not None:
            raise DataError(f"{parsed.path} is a folder, not an archive")
        return parsed, _folder(root, parsed.path, real, trust=trust)
    if not os.path.isfile(real):
        raise DataError("is neither a file nor a folder")
    if parsed.container is None:
        return parsed, LocalFile(real)
    if parsed.cell is None:
        return parsed, _member(parsed, real, policy, handles)
    if in_cell:
        raise DataError("a Parquet cell may not refer to another Parquet cell")
    table = handles.archives.get(file_stamp(real), lambda: cells.Table(real, parsed.path))
    values = cells.read_cell(table, file_stamp(real), parsed.cell, handles)
    parts = [(f"element {n}", _cell_value(value, root, policy, handles)) for n, value in enumerate(values)]
    return parsed, parts[0][1] if len(parts) == 1 else Several(parts, folder=False)


def _fetch(address: str, policy: MediaPolicy) -> bytes:
    if not policy.allow_remote:
        raise DataError("addresses are not fetched", hint="--allow-remote fetches them")
    return remote.fetch(address, max_bytes=policy.max_bytes, timeout_seconds=policy.remote_timeout_seconds)


def _folder(root: Path, path: str, real: str, *, trust: bool) -> Several:
    """The frames of a folder on disk. A frame that is a link out of the media root is refused."""
    with os.scandir(real) as entries:
        names = frame_names([entry.name for entry in entries if not entry.is_dir()])
    frames = [(name, locate.within(root, os.path.join(path, name), trust=trust)) for name in names]
    return Several([(name, LocalFile(frame)) for name, frame in frames], folder=True)


def _member(parsed: MediaRef, real: str, policy: MediaPolicy, handles: Handles) -> Single | Several:
    """A member of an archive, or a folder of frames in it."""
    wanted, kind = archives.member_name(parsed.member or ""), parsed.container or ""
    stamp = file_stamp(real)
    archive = handles.archives.get(stamp, lambda: archives.open_archive(real, parsed.path, kind))

    def member(name: str) -> Blob:
        return Blob(partial(archive.read, name, policy.max_bytes), (*stamp, name))

    if archive.has(wanted):
        return member(wanted)
    names = archive.names_in(wanted)
    if not names:
        raise MissingError(f"no such member in {parsed.path}", hint=archive.similar(wanted) or None)
    folder = f"{wanted}/" if wanted else ""
    return Several([(name, member(folder + name)) for name in frame_names(names)], folder=True)


def _cell_value(value: cells.Part, root: Path, policy: MediaPolicy, handles: Handles) -> Single:
    """Bytes as they are; text is a reference to one file, from the same root and under the same policy."""
    if isinstance(value, bytes):
        return Blob(partial(bytes, value))
    parsed, source = open_reference(value, root, policy, handles, in_cell=True)
    if isinstance(source, Several):
        raise DataError(f"the cell refers to {shown(value)}, which is a folder")
    if parsed.page is not None or parsed.window is not None:
        raise DataError(
            f"the cell refers to {shown(value)}; pages and times belong behind the cell's own reference"
        )
    return source
