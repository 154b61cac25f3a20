import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.media_ref import SHOWN_CHARACTERS, Cell, MediaRef, parse, shown


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("dir/a.jpg", {"path": "dir/a.jpg"}),
        ("frames dir/", {"path": "frames dir/"}),
        ("images.zip!a/b.jpg", {"path": "images.zip", "container": "zip", "member": "a/b.jpg"}),
        ("Images.ZIP!a.jpg", {"path": "Images.ZIP", "container": "zip", "member": "a.jpg"}),
        ("frames.tar!v1/0001.jpg", {"path": "frames.tar", "container": "tar", "member": "v1/0001.jpg"}),
        ("frames.tar!./v1/", {"path": "frames.tar", "container": "tar", "member": "v1/"}),
        ("frames.tar!", {"path": "frames.tar", "container": "tar", "member": ""}),
        ("f.tar.gz!a", {"path": "f.tar.gz", "container": "compressed-tar", "member": "a"}),
        ("c.parquet!image[17]", {"path": "c.parquet", "container": "parquet", "cell": Cell("image", 17)}),
        (
            "c.parquet!a[b].c[0][2]",
            {"path": "c.parquet", "container": "parquet", "cell": Cell("a[b].c", 0, 2)},
        ),
        ("paper.pdf#page=3", {"path": "paper.pdf", "page": 3}),
        ("p.zip!a/b.pdf#page=3", {"path": "p.zip", "container": "zip", "member": "a/b.pdf", "page": 3}),
        ("clip.mp4#t=2.5,7", {"path": "clip.mp4", "window": (2.5, 7.0)}),
        ("clip.mp4#t=2", {"path": "clip.mp4", "window": (2.0, None)}),
        ("clip.mp4#t=2,", {"path": "clip.mp4", "window": (2.0, None)}),
        ("clip.mp4#t=,7.25", {"path": "clip.mp4", "window": (None, 7.25)}),
        (
            "c.parquet!v[1]#t=1,2",
            {"path": "c.parquet", "container": "parquet", "cell": Cell("v", 1), "window": (1, 2)},
        ),
        ("data:image/png;base64,AA!#t=1", {"path": "data:image/png;base64,AA!#t=1", "scheme": "data"}),
        ("HTTPS://x.org/a.zip!b", {"path": "HTTPS://x.org/a.zip!b", "scheme": "http"}),
        ("quickstart:a.zip!b", {"path": "a.zip", "container": "zip", "member": "b", "scheme": "quickstart"}),
        ("wow!.jpg", {"path": "wow!.jpg"}),
        ("it's #1, ça va!.jpg", {"path": "it's #1, ça va!.jpg"}),
        ("a#page=x.jpg", {"path": "a#page=x.jpg"}),
        ("a#t=,", {"path": "a#t=,"}),
        ("C:a.jpg", {"path": "C:a.jpg"}),
        ("a.zip!b.zip!c", {"path": "a.zip", "container": "zip", "member": "b.zip!c"}),
    ],
)
def test_a_reference_is_taken_apart(text: str, fields: dict[str, object]) -> None:
    assert parse(text) == MediaRef(**{"text": text, "scheme": "path", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["a.zip!b.jpg", "p.pdf#page=2", "c.mp4#t=1,2", "c.parquet!x[0]", "a.tar!b#page=1"]
)
def test_an_existing_file_of_exactly_that_name_wins(text: str) -> None:
    assert parse(text, is_file=lambda path: path == text) == MediaRef(text=text, scheme="path", path=text)


def test_among_several_containers_the_one_that_exists_is_meant() -> None:
    assert parse("a.zip!b.zip!c", is_file=lambda path: path == "a.zip!b.zip").member == "c"


def test_a_fragment_belongs_to_an_existing_file_with_an_exclamation_mark() -> None:
    parsed = parse("a.zip!b.pdf#page=2", is_file=lambda path: path == "a.zip!b.pdf")
    assert (parsed.path, parsed.container, parsed.page) == ("a.zip!b.pdf", None, 2)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "the reference is empty"),
        ("quickstart:", "the reference is empty"),
        ("s3://bucket/a.png", "s3:// is not read"),
        ("file:///a.png", "file:// is not read"),
        ("p.pdf#page=0", "pages are counted from 1, not 0"),
        ("p.pdf#page=-2", "pages are counted from 1, not -2"),
        ("c.mp4#t=7,2.5", "the window 7 to 2.5 s is empty"),
        ("c.mp4#t=,0", "the window 0 to 0 s is empty"),
        ("c.parquet!image", "a Parquet reference names a column and a row"),
        ("c.parquet!image[-1]", "a Parquet reference names a column and a row"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(text: str, fact: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(text)
    assert (caught.value.fact, caught.value.place) == (fact, "")


@given(st.text(st.characters(exclude_characters="!#:"), min_size=1))
def test_a_name_without_marks_is_a_path_as_it_stands(text: str) -> None:
    assert parse(text) == MediaRef(text=text, scheme="path", path=text)


@given(st.text())
def test_any_text_is_parsed_or_refused_and_shown_on_one_short_line(text: str) -> None:
    line = shown(text)
    assert len(line) <= SHOWN_CHARACTERS + 40
    assert "\n" not in line
    assert "\r" not in line
    with contextlib.suppress(DataError):
        assert parse(text).text == text
