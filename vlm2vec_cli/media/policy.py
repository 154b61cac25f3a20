"""What a reader may open, and how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """Permissions and limits of one `MediaReader`.

    trust_paths: paths may leave the media root (`..`, absolute, links).
    allow_remote: http(s) references are fetched.
    max_pixels: largest width * height of a picture or video frame, checked before it is decoded. Pillow's own
        hard limit of 178,956,970 pixels holds beside it.
    max_bytes: largest picture, archive member, Parquet value, data URI or download that is read into memory.
        A video or PDF that is a file of its own is read in place and has no such limit.
    max_video_frames: a video file first stands for this many frames, spread evenly; `num_frames` chooses
        among those. 64, as in MMEB's published frame folders.
    page_dpi: resolution of rendered PDF pages, lowered for a page that would exceed max_page_pixels.
    remote_timeout_seconds: longest silence of a server.
    """

    trust_paths: bool = False
    allow_remote: bool = False
    max_pixels: int = 89_478_485
    max_bytes: int = 1 << 30
    max_video_frames: int = 64
    page_dpi: int = 144
    max_page_pixels: int = 1 << 22
    remote_timeout_seconds: float = 30.0
