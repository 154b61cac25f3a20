"""Finding the media that raw rows name: unpacked, a folder deeper or not, or inside zip and tar archives."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media import archives
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.schemas.base import Row

CLIP_SUFFIXES = ("", ".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v")
PICTURES_HINT = "the pictures are image-tasks/mmeb_v1.tar.gz of TIGER-Lab/MMEB-V2 on the hub"
VIDEOS_HINT = "the frames are video-tasks/frames/*.tar.gz of TIGER-Lab/MMEB-V2 on the hub"
USUAL_NUM_FRAMES = 8
"""What the model sees of a video unless a row or an option says otherwise."""


@dataclass(frozen=True)
class Packed:
    """An archive that may hold a folder's content, its names starting with one of `prefixes`."""

    path: Path
    prefixes: tuple[str, ...]


class Places:
    """Where the media of one dataset may lie: folders, then archives, in the order they are looked at.

    The place where the last one was found is looked at first. Archives are listed when no folder has a name.
    `hint` says where the media can be had.
    """

    def __init__(
        self, raw: Raw, folders: Sequence[Path], packed: Sequence[Packed] = (), hint: str | None = None
    ) -> None:
        self._folders, self._packed, self._hint = folders, packed, hint
        here = [_in_folder(raw, one) for one in folders if one.is_dir()]
        self._looks = [*here, *(_in_archive(raw, one) for one in packed if one.path.is_file())]

    def reference(self, kind: str, name: str) -> str:
        """The reference of `name`. Raises MissingError naming the places, DataError for a bad name."""
        found = self.find(name)
        if found is None:
            raise MissingError(f"{kind} {name}: not in {self.shown()}", hint=self._compressed() or self._hint)
        return found

    def find(self, name: str, *, folder: bool = False) -> str | None:
        """The reference of the file, or folder of files, `name`, a relative path; None for none.

        `name` may end in `#page=N`, a page of the file before it.
        """
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise DataError(f"not a path inside the data: {name!r}")
        for number, look in enumerate(self._looks):
            if found := look(name, folder):
                if number:
                    self._looks.insert(0, self._looks.pop(number))
                return found
        bare, mark, page = name.rpartition("#page=")
        if mark and page.isdecimal() and (found := self.find(bare)):
            return found + mark + page
        return None

    def there(self) -> bool:
        """Whether any of the folders or archives exists."""
        return bool(self._looks)

    def shown(self) -> str:
        """The places, for messages."""
        archives = (one.path for one in self._packed if one.path.is_file())
        return ", ".join(map(str, (*self._folders, *archives)))

    def _compressed(self) -> str | None:
        for packed in self._packed:
            pressed = packed.path.with_name(packed.path.name + ".gz")
            if packed.path.suffix == ".tar" and pressed.is_file() and not packed.path.is_file():
                return f"{pressed} is compressed: unpack it, or gunzip it into a .tar, which is read in place"
        return None


Look: TypeAlias = Callable[[str, bool], str | None]
"""Takes a name and whether it is a folder's, gives the reference if it is there."""


def _in_folder(raw: Raw, top: Path) -> Look:
    prefix = cache(partial(raw.references.of, top, ""))  # asked for only once something is found

    def look(name: str, folder: bool) -> str | None:
        path = os.path.join(top, name)
        if folder:
            return f"{prefix()}{name.rstrip('/')}/" if os.path.isdir(path) else None
        return prefix() + name if os.path.isfile(path) else None

    return look


def _in_archive(raw: Raw, packed: Packed) -> Look:
    outer = cache(partial(raw.references.of, packed.path.parent, packed.path.name))

    def look(name: str, folder: bool) -> str | None:
        archive = _opened(str(packed.path))
        for prefix in packed.prefixes:
            member = archives.member_name(prefix + name)
            if archive.names_in(member) if folder else archive.has(member):
                return f"{outer()}!{member}/" if folder else f"{outer()}!{member}"
        return None

    return look


@cache
def _opened(path: str) -> archives.Archive:
    return archives.open_archive(path, path, "zip" if path.endswith(".zip") else "tar")


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


def picture_places(entry: Entry, raw: Raw) -> Places:
    """Where pictures lie: under `local.image_root`, with or without the archive's own top folder."""
    top = raw.root / entry["local"]["image_root"]
    packed = [Packed(top / f"mmeb_v1{suffix}", ("MMEB/", "")) for suffix in (".tar", ".zip")]
    return Places(raw, (top, top / "MMEB"), (*packed, *beside(raw.root, top)), PICTURES_HINT)


@dataclass(frozen=True)
class Videos:
    """Where the videos of one task lie: frame folders first, else the clips themselves."""

    frames: Places
    clips: Places

    def reference(self, folders: Sequence[str], files: Iterable[str] = ()) -> str:
        """The first of the frame `folders` that exists, else the first of the clip `files`, any suffix.

        Raises MissingError naming the places.
        """
        for name in folders:
            if found := self.frames.find(name, folder=True):
                return found
        for name in dict.fromkeys((*files, *folders)):
            for suffix in CLIP_SUFFIXES:
                if found := self.clips.find(name + suffix):
                    return found
        places = ", ".join(one.shown() for one in (self.frames, self.clips) if one.shown())
        raise MissingError(f"video {folders[0]}: not in {places}", hint=VIDEOS_HINT)

    def there(self) -> bool:
        """Whether any of the places exists."""
        return self.frames.there() or self.clips.there()


def video_places(entry: Entry, raw: Raw) -> Videos:
    """The places of a video task, from `local.frame_root` and its variants, and `local.video_root`."""
    local = entry["local"]
    frames = [
        raw.root / one for one in (local.get("frame_root"), *local.get("frame_root_variants", ())) if one
    ]
    clips = [raw.root / local["video_root"]] if local.get("video_root") else []
    return Videos(
        Places(raw, frames, [one for folder in frames for one in beside(raw.root, folder)]),
        Places(raw, clips, [one for folder in clips for one in beside(raw.root, folder)]),
    )


def with_frames(row: Row, entry: Entry, raw: Raw) -> Row:
    """`row` with `num_frames` where it has a video and the number is not the usual one."""
    count = raw.num_frames or entry.get("num_frames")
    if "video" in row and count and (raw.num_frames or count != USUAL_NUM_FRAMES):
        row["num_frames"] = count
    return row
