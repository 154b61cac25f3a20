"""The media of evaluation tasks and video sets: which places under the root they may have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import MissingError
from vlm2vec_cli.readers._packed import Packed, beside, besides
from vlm2vec_cli.readers._places import Places
from vlm2vec_cli.readers._raw import Missing, Raw
from vlm2vec_cli.schemas.base import Row

CLIP_SUFFIXES = ("", ".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v")
BENCHMARK = "TIGER-Lab/MMEB-V2"
PICTURES = Missing("image-tasks/mmeb_v1.tar.gz", BENCHMARK)
USUAL_NUM_FRAMES = 8
"""What the model sees of a video unless a row or an option says otherwise."""


def picture_places(entry: Entry, raw: Raw) -> Places:
    """Where pictures lie: under `local.image_root`, with or without the archive's own top folder."""
    top = raw.root / entry["local"]["image_root"]
    packed = [Packed(top / f"mmeb_v1{suffix}", ("MMEB/", "")) for suffix in (".tar", ".zip")]
    return Places(raw, (top, top / "MMEB"), (*packed, *beside(raw.root, top)), (PICTURES,))


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
        raise MissingError(f"video {folders[0]}: not in {places}", hint=self.frames.hint())

    def there(self) -> bool:
        """Whether any of the places exists."""
        return self.frames.there() or self.clips.there()

    def missing(self) -> tuple[Missing, ...]:
        """What is not there, when no place exists."""
        return () if self.there() else self.frames.missing()


def video_places(entry: Entry, raw: Raw) -> Videos:
    """The places of a video task, from `local.frame_root` and its variants, and `local.video_root`."""
    local = entry["local"]
    frames = [
        raw.root / one for one in (local.get("frame_root"), *local.get("frame_root_variants", ())) if one
    ]
    clips = [raw.root / local["video_root"]] if local.get("video_root") else []
    packed = besides(raw.root, frames) + _chunks(frames)
    return Videos(
        Places(raw, frames, packed, frame_archives(entry)),
        Places(raw, clips, besides(raw.root, clips)),
    )


def frame_archives(entry: Entry) -> tuple[Missing, ...]:
    """The published archives with the frames of a video task or training set."""
    parts = str(entry["local"].get("frame_root", "")).split("/")
    if parts[:2] != ["video-tasks", "frames"]:
        repository = (entry.get("hf") or {}).get("repo")
        return (Missing(f"{parts[0]}/chunk_*.tar.gz", repository),) if repository else ()
    name = f"video-tasks/frames/{parts[2]}.tar.gz"
    ends = [f"-{number:02}" for number in range(5)] if parts[2] == "video_qa" else [""]
    return tuple(Missing(name + end, BENCHMARK) for end in ends)


def _chunks(folders: Iterable[Path]) -> list[Packed]:
    """The tars `chunk_N` that frame folders are published in, and what they become unpacked."""
    found: dict[Path, Packed] = {}
    for folder in folders:
        for one in sorted(folder.glob("chunk_*.tar*")):
            plain = one.with_name(one.name.split(".tar")[0] + ".tar")
            found[plain] = Packed(plain, ("", f"{plain.stem}/"))
    return list(found.values())


def with_frames(row: Row, entry: Entry, raw: Raw) -> Row:
    """`row` with `num_frames` where it has a video and the number is not the usual one."""
    count = raw.num_frames or entry.get("num_frames")
    if "video" in row and count and (raw.num_frames or count != USUAL_NUM_FRAMES):
        row["num_frames"] = count
    return row
