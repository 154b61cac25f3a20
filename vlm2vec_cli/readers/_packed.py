"""Archives that media may have been unpacked from, and those that must be unpacked first."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlm2vec_cli.readers._raw import Missing

COMPRESSED = (".tar.gz", ".tgz")


@dataclass(frozen=True)
class Packed:
    """An archive that may hold a folder's content, its names starting with one of `prefixes`."""

    path: Path
    prefixes: tuple[str, ...]


def waiting_for(plain: Path, root: Path) -> Missing | None:
    """What has to be unpacked so that the tar `plain` is there; None where it is, or nothing has it.

    A tar that was compressed in one piece or in several cannot be read in place. Its parts, NAME.tar.gz-00
    and so on, are one stream of gzip members.
    """
    if plain.suffix != ".tar" or plain.exists():
        return None
    found = [one for end in COMPRESSED if (one := plain.with_name(plain.stem + end)).is_file()]
    parts = sorted(plain.parent.glob(f"{glob_safe(plain.name)}.gz-*"))
    if not found and not parts:
        return None
    target = shlex.quote(str(plain))
    if found:
        command = f"gunzip -c {shlex.quote(str(found[0]))} > {target}"
    else:
        command = f"cat {' '.join(shlex.quote(str(one)) for one in parts)} | gunzip -c > {target}"
    file = (found or parts)[0]
    return Missing(file.relative_to(root).as_posix() if root in file.parents else str(file), None, command)


def glob_safe(name: str) -> str:
    """`name` for use in a pattern."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in name)


def beside(root: Path, folder: Path) -> list[Packed]:
    """What `folder` may have been unpacked from: `X.zip` or `X.tar` for it and each folder above."""
    found = []
    for above in (folder, *folder.parents):
        if above == root or root not in above.parents:
            break
        inner = folder.relative_to(above).as_posix()
        inside = "" if inner == "." else f"{inner}/"
        for suffix in (".zip", ".tar"):
            found.append(Packed(above.with_name(above.name + suffix), (f"{above.name}/{inside}", inside)))
    return found


def besides(root: Path, folders: Iterable[Path]) -> list[Packed]:
    """The same for several folders, an archive once."""
    prefixes: dict[Path, tuple[str, ...]] = {}
    for folder in folders:
        for one in beside(root, folder):
            prefixes[one.path] = (*prefixes.get(one.path, ()), *one.prefixes)
    return [Packed(path, tuple(dict.fromkeys(names))) for path, names in prefixes.items()]
