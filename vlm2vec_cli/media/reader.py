"""The one door to media: references in, RGB pictures out."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from PIL import Image

from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media import clips, pages, pictures
from vlm2vec_cli.media.handles import Handles
from vlm2vec_cli.media.opening import open_reference
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.sampling import Window, spread
from vlm2vec_cli.media.sources import Several, Single
from vlm2vec_cli.schemas.media_ref import MediaRef, shown


class Decode(Protocol):
    """Frames of a video file or of its content: `clips.decode`, or `apart.Apart`."""

    def __call__(
        self, source: str | bytes, *, window: Window | None, num_frames: int | None, policy: MediaPolicy
    ) -> list[Image.Image]:
        """At most `num_frames` frames of the window, in seconds, or of the whole."""
        ...


class MediaReader:
    """Opens media references (see `schemas.media_ref`) under the limits of a policy.

    `root` is the media root that relative references start from and that none may leave. Errors have an empty
    place, which the caller knows; their fact begins with `image REF: ` or `video REF: `. MissingError: not
    there. DataError: there, but not what it should be, or not allowed. UnavailableError: a decoder is not
    installed.

    `decode` decodes video files; a reader that was pickled decodes them in its own process again.

    Open archives and documents are kept in bounded caches. A reader may be used by several threads, may be
    pickled, and may be used on both sides of a fork: each process opens its own files.
    """

    def __init__(self, policy: MediaPolicy | None = None, *, decode: Decode = clips.decode) -> None:
        self.policy = policy or MediaPolicy()
        self._decode = decode
        self._handles = Handles()
        pictures.quiet_pillow()

    def __reduce__(self) -> tuple[type["MediaReader"], tuple[MediaPolicy]]:
        return type(self), (self.policy,)

    def image(self, ref: str, root: Path, *, first: pictures.Change | None = None) -> Image.Image:
        """The picture or PDF page, in mode RGB. Of an animated picture, the first frame.

        `first` is done to the picture as it is stored, before it becomes RGB.
        """
        with _named("image", ref):
            return self._picture(*self._open_one(ref, root), first)

    def size(self, ref: str, root: Path) -> tuple[int, int]:
        """Width and height of a picture in pixels, from its header alone."""
        with _named("image", ref):
            return pictures.size(self._open_one(ref, root)[1].in_place(self.policy.max_bytes))

    def frames(self, video: str | Sequence[str], root: Path, *, num_frames: int | None) -> list[Image.Image]:
        """The frames of a video, in mode RGB, at most `num_frames` of them (`None`: all that it stands for).

        A list of references, a folder and a list in a Parquet cell are frames as they stand: taken whole when
        there are no more than `num_frames`, else spread evenly. A video file first stands for up to
        `max_video_frames` frames. A single picture is a video of one frame.
        """
        if isinstance(video, str):
            with _named("video", video):
                return self._video(video, root, num_frames)
        if not video:
            raise DataError("video: the list of frames is empty")
        frames = []
        for position in spread(len(video), num_frames):
            with _named("video", video[position]):
                frames.append(self._picture(*self._open_one(video[position], root)))
        return frames

    def read_bytes(self, ref: str, root: Path) -> bytes:
        """The content of the file, member, cell or URI; of a page or window, the whole document or clip."""
        with _named("image", ref):
            return self._open_one(ref, root)[1].read(self.policy.max_bytes)

    def identity(self, ref: str, root: Path) -> str:
        """A name for the content: equal for equal bytes wherever they lie, different when they differ.

        sha256 of the content in hexadecimal, with `#page=` or `#t=` behind it where the reference has one.
        Of a folder or list: `frames:` and the sha256 of its frames' identities.
        """
        with _named("image", ref):
            parsed, source = self._open(ref, root)
            if not isinstance(source, Several):
                return self._digest(source) + _fragment(parsed)
            digests = "\n".join(self._digest(part) for _, part in source.parts)
            return f"frames:{hashlib.sha256(digests.encode()).hexdigest()}"

    def page_count(self, ref: str, root: Path) -> int:
        """The number of pages of a PDF."""
        with _named("image", ref):
            return self._document(self._open_one(ref, root)[1]).num_pages

    # below: facts without the reference's name in front

    def _caches(self) -> Handles:
        if self._handles.process != os.getpid():
            self._handles = Handles()
        return self._handles

    def _open(self, ref: str, root: Path) -> tuple[MediaRef, Single | Several]:
        return open_reference(ref, root, self.policy, self._caches())

    def _open_one(self, ref: str, root: Path) -> tuple[MediaRef, Single]:
        parsed, source = self._open(ref, root)
        if isinstance(source, Several):
            raise source.refuse()
        return parsed, source

    def _digest(self, source: Single) -> str:
        make = partial(source.digest, self.policy.max_bytes)
        return make() if source.stamp is None else self._caches().digests.get(source.stamp, make)

    def _document(self, source: Single) -> pages.Document:
        def make() -> pages.Document:
            return pages.Document(source.in_place(self.policy.max_bytes))

        if source.stamp is None:
            return make()
        return self._caches().documents.get(source.stamp, make, lambda document: document.num_bytes)

    def _picture(self, parsed: MediaRef, source: Single, first: pictures.Change | None = None) -> Image.Image:
        if parsed.page is not None:
            page = self._document(source).render(parsed.page, self.policy)
            return first(page) if first else page
        if parsed.window is not None:
            raise DataError("a time window belongs to a video, not to a picture")
        return pictures.decode(source.read(self.policy.max_bytes), self.policy.max_pixels, first)

    def _video(self, ref: str, root: Path, num_frames: int | None) -> list[Image.Image]:
        parsed, source = self._open(ref, root)
        if isinstance(source, Several):
            if parsed.page is not None or parsed.window is not None:
                raise DataError("a folder or list of frames has no pages or times")
            if not source.parts:
                raise DataError("no jpg, jpeg or png frames in the folder")
            chosen = [source.parts[position] for position in spread(len(source.parts), num_frames)]
            return [self._frame(name, part) for name, part in chosen]
        if parsed.page is not None:
            return [self._picture(parsed, source)]
        return self._moving(parsed, source.in_place(self.policy.max_bytes), num_frames)

    def _moving(self, parsed: MediaRef, content: str | bytes, num_frames: int | None) -> list[Image.Image]:
        """Frames of a video or (animated) picture: the path of a file, or its content."""
        head = _head(content)
        if not pictures.looks_like_picture(head):
            pictures.check_head(head, video=True)
            return self._decode(content, window=parsed.window, num_frames=num_frames, policy=self.policy)
        if parsed.window is not None:
            raise DataError("a time window belongs to a video file, not to a picture")
        return pictures.decode_frames(content, num_frames, self.policy)

    def _frame(self, name: str, source: Single) -> Image.Image:
        try:
            return pictures.decode(source.read(self.policy.max_bytes), self.policy.max_pixels)
        except UserError as error:
            raise type(error)(f"frame {name}: {error.fact}", hint=error.hint) from error


def _head(content: str | bytes) -> bytes:
    if isinstance(content, bytes):
        return content[:64]
    with open(content, "rb") as file:
        return file.read(64)


def _fragment(parsed: MediaRef) -> str:
    if parsed.page is not None:
        return f"#page={parsed.page}"
    if parsed.window is not None:
        return "#t=" + ",".join("" if side is None else f"{side:g}" for side in parsed.window)
    return ""


@contextmanager
def _named(field: str, ref: str) -> Iterator[None]:
    """Puts `image REF: ` before the fact of any error; failures of the file system become MissingError."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{field} {shown(ref)}: {error.fact}", hint=error.hint) from error
    except OSError as error:
        raise MissingError(f"{field} {shown(ref)}: cannot be read: {error.strerror or error}") from error
