"""The visuals of a content, each distinct reference decoded and cut into patches once while it is in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from PIL import Image

from vlm2vec_cli.backbones import Limits
from vlm2vec_cli.engine import pixels, prompts
from vlm2vec_cli.engine.pixels import Visual
from vlm2vec_cli.media import MediaReader


class Visuals:
    """Reads the media fields of contents; `picture` and `clip` make patches of RGB pictures.

    A visual stays known as long as somebody holds it, so that rows of one window share it and nothing is kept
    beyond them. May be used by several threads: one decodes, the others wait for it.
    """

    def __init__(
        self, picture: Callable[[Image.Image], Visual], clip: Callable[[Sequence[Image.Image]], Visual]
    ) -> None:
        self._picture = picture
        self._clip = clip
        self._known: WeakValueDictionary[Hashable, Visual] = WeakValueDictionary()
        self._under_way: dict[Hashable, Future[Visual]] = {}
        self._lock = threading.Lock()

    def images(
        self, content: Mapping[str, Any], root: Path, media: MediaReader, limits: Limits
    ) -> list[Visual]:
        """The pictures of the field `image`, in order; `limits.resize` comes before all else."""
        first = partial(pixels.preset, name=limits.resize) if limits.resize else None
        return [
            self._once(
                (media, root, ref, limits),
                lambda ref=ref: self._picture(media.image(ref, root, first=first)),  # type: ignore[misc]
            )
            for ref in prompts.as_list(content.get("image"))
        ]

    def clips(
        self, content: Mapping[str, Any], root: Path, media: MediaReader, limits: Limits
    ) -> list[Visual]:
        """The clip of the field `video`, none or one, of at most the row's `num_frames`, else the limit's."""
        video = content.get("video")
        if not video:
            return []
        num_frames = content.get("num_frames") or limits.num_frames
        name = video if isinstance(video, str) else tuple(video)
        return [
            self._once(
                (media, root, name, num_frames, limits),
                lambda: self._clip(media.frames(video, root, num_frames=num_frames)),
            )
        ]

    def _once(self, key: Hashable, make: Callable[[], Visual]) -> Visual:
        with self._lock:
            if (known := self._known.get(key)) is not None:
                return known
            theirs = self._under_way.get(key)
            if theirs is None:
                ours = self._under_way[key] = Future()
        if theirs is not None:
            return theirs.result()
        try:
            visual = make()
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
            ours.set_exception(error)
            raise
        with self._lock:
            self._known[key] = visual
            del self._under_way[key]
        ours.set_result(visual)
        return visual
