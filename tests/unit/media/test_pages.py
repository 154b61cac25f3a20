import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import MediaPolicy
from vlm2vec_cli.media.pages import Document, page_zoom

Make = Callable[..., bytes]
POLICY = MediaPolicy()


def squares(page: Image.Image) -> int:
    """How many black squares stand in the first 16 points of a page rendered at two pixels a point."""
    row = np.asarray(page.convert("L"))[16] < 128
    return int(np.count_nonzero(np.diff(row.astype(int)) == 1))


def test_pages_are_rendered_at_144_dots_an_inch_on_white(pdf: Make) -> None:
    document = Document(pdf((100, 140), (72, 36)))
    first, second = document.render(1, POLICY), document.render(2, POLICY)
    assert (first.mode, first.size, second.size) == ("RGB", (200, 280), (144, 72))
    assert first.getpixel((199, 279)) == (255, 255, 255)


def test_pages_are_counted_from_one(pdf: Make) -> None:
    document = Document(pdf())
    assert document.num_pages == 3
    assert [squares(document.render(number, POLICY)) for number in (1, 2, 3)] == [1, 2, 3]


def test_a_file_and_its_bytes_give_the_same_page(pdf: Make, tmp_path: Path) -> None:
    (tmp_path / "p.pdf").write_bytes(pdf())
    pages = [Document(source).render(2, POLICY) for source in (pdf(), str(tmp_path / "p.pdf"))]
    assert pages[0].tobytes() == pages[1].tobytes()


def test_a_large_page_is_rendered_smaller(pdf: Make) -> None:
    policy = MediaPolicy(max_page_pixels=10_000)
    page = Document(pdf((5000, 2500))).render(1, policy)
    assert 9_000 < page.width * page.height <= 10_000
    assert page.width / page.height == pytest.approx(2, rel=0.03)


@given(st.floats(0.5, 20_000), st.floats(0.5, 20_000), st.integers(10_000, 10**7))
def test_no_page_exceeds_the_limit(width: float, height: float, limit: int) -> None:
    policy = MediaPolicy(max_page_pixels=limit)
    zoom = page_zoom(width, height, policy)
    assert 0 < zoom <= 2
    assert (width * zoom) * (height * zoom) <= limit
    if zoom < 2:
        assert (width * zoom + 1) * (height * zoom + 1) == pytest.approx(limit)


def test_a_page_that_is_not_there(pdf: Make) -> None:
    with pytest.raises(DataError, match="the PDF has 3 pages, no page 4"):
        Document(pdf()).render(4, POLICY)
    with pytest.raises(DataError, match="the PDF has 1 page, no page 2"):
        Document(pdf((9, 9))).render(2, POLICY)


def test_an_encrypted_document_is_refused(pdf: Make) -> None:
    with pytest.raises(DataError, match="the PDF is encrypted"):
        Document(pdf(password="secret"))
    assert Document(pdf(password="")).num_pages == 3


NO_PAGES = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "the file is empty"),
        (b"hello world, no pdf", "is no PDF"),
        (b"%PDF-1.7\n" + b"rubbish" * 50, "the PDF"),
        (NO_PAGES + b"trailer<</Root 1 0 R>>\n%%EOF", "the PDF has no pages"),
    ],
)
def test_damaged_documents_are_bad_data_and_say_nothing(
    content: bytes, fact: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.pdf").write_bytes(content)
    for source in (content, str(tmp_path / "p.pdf")):
        with pytest.raises(DataError, match=fact):
            Document(source).render(1, POLICY)
    assert capfd.readouterr() == ("", "")


def test_several_threads_may_render(pdf: Make) -> None:
    document, counts = Document(pdf()), []

    def work() -> None:
        for number in (1, 2, 3):
            counts.append(squares(document.render(number, POLICY)) == number)
            Document(pdf((20, 20)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [True] * 12


def test_a_document_may_be_collected_while_another_is_rendered(
    pdf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, other = Document(pdf()), [Document(pdf())]
    frombytes = Image.frombytes

    def collect(*given: object) -> Image.Image:
        other.clear()
        return frombytes(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("vlm2vec_cli.media.pages.Image.frombytes", collect)
    assert squares(document.render(2, POLICY)) == 2
    assert other == []
