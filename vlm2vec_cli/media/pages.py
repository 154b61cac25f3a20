"""Pages of PDF documents as RGB pictures, rendered by MuPDF.

MuPDF must not be entered by two threads at once; one lock guards it, and a fork waits for it, so that a child
process never starts with a half-finished page.
"""

import importlib
import math
import os
import threading
from typing import Any

from PIL import Image

from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media.policy import MediaPolicy

_POINTS_PER_INCH = 72.0
_MUPDF = threading.RLock()  # a document collected while another is rendered closes itself then and there
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_MUPDF.acquire, after_in_parent=_MUPDF.release, after_in_child=_MUPDF.release)


class Document:
    """An open PDF. Raises DataError where the content is no PDF, encrypted, damaged or without pages."""

    def __init__(self, source: str | bytes) -> None:
        pymupdf = _pymupdf()
        if isinstance(source, str):
            with open(source, "rb") as file:
                head = file.read(1024)
        else:
            head = source[:1024]
        self.num_bytes = 0 if isinstance(source, str) else len(source)
        if not head:
            raise DataError("the file is empty")
        if b"%PDF-" not in head:
            raise DataError(f"is no PDF (begins with {head[:12]!r})")
        with _MUPDF:
            try:
                if isinstance(source, str):
                    self._document = pymupdf.open(source, filetype="pdf")
                else:
                    self._document = pymupdf.open(stream=source, filetype="pdf")
                locked = bool(self._document.needs_pass)
                self.num_pages = 0 if locked else int(self._document.page_count)
            except Exception as error:  # MuPDF's own exception classes differ between versions
                raise DataError(f"the PDF cannot be opened: {error}") from error
        if locked:
            raise DataError("the PDF is encrypted", hint="qpdf --password=... --decrypt IN.pdf OUT.pdf")
        if not self.num_pages:
            raise DataError("the PDF has no pages")

    def __del__(self) -> None:
        document = getattr(self, "_document", None)
        if document is not None and not document.is_closed:
            with _MUPDF:
                document.close()

    def render(self, page: int, policy: MediaPolicy) -> Image.Image:
        """Page `page` (from 1), RGB, at `page_dpi` or as much less as `max_page_pixels` asks for."""
        pymupdf = _pymupdf()
        if page > self.num_pages:
            raise DataError(f"the PDF has {self.num_pages} page{'s' * (self.num_pages > 1)}, no page {page}")
        with _MUPDF:
            try:
                sheet = self._document.load_page(page - 1)
                width, height = float(sheet.rect.width), float(sheet.rect.height)
                if not (width > 0 and height > 0 and math.isfinite(width * height)):
                    raise DataError(f"page {page} has no area")
                zoom = page_zoom(width, height, policy)
                pixels = sheet.get_pixmap(
                    matrix=pymupdf.Matrix(zoom, zoom), colorspace=pymupdf.csRGB, alpha=False, annots=True
                )
                return Image.frombytes("RGB", (pixels.width, pixels.height), bytes(pixels.samples))
            except DataError:
                raise
            except Exception as error:  # as above
                raise DataError(f"page {page} cannot be rendered: {error}") from error

    def text(self, page: int) -> str:
        """The text of page `page` (from 1) as it can be selected, blanks at its ends removed."""
        with _MUPDF:
            try:
                return str(self._document.load_page(page - 1).get_text()).strip()
            except Exception as error:  # as above
                raise DataError(f"the text of page {page} cannot be read: {error}") from error


def page_zoom(width: float, height: float, policy: MediaPolicy) -> float:
    """Pixels per point for a page of `width` x `height` points.

    Sides are rounded outward to whole pixels by MuPDF, so a capped page stays within the limit with both
    sides one pixel longer.
    """
    zoom = policy.page_dpi / _POINTS_PER_INCH
    if math.ceil(width * zoom) * math.ceil(height * zoom) <= policy.max_page_pixels:
        return zoom
    # (width * z + 1) * (height * z + 1) = max_page_pixels, solved for z
    total = width + height
    return (math.sqrt(total * total + 4 * width * height * (policy.max_page_pixels - 1)) - total) / (
        2 * width * height
    )


def _pymupdf() -> Any:
    try:
        pymupdf: Any = importlib.import_module("pymupdf")
    except ImportError as error:
        raise UnavailableError("PDF pages need PyMuPDF", hint="pip install pymupdf") from error
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    return pymupdf
