from pathlib import Path

import pytest

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining.identity import Identity, is_relative, literal_key

ROOT = Path("/media")
BY_REFERENCE = Identity(None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "a b"}, {"text": "  a \n\tb "}),
        ({"text": "caf\u00e9"}, {"text": "cafe\u0301"}),
        ({"text": "a"}, {"text": "a", "instruction": "Find it."}),
        ({"image": "a.png"}, {"image": "a.png", "text": ""}),
        ({"image": "a.png", "text": "x"}, {"image": ["a.png"], "text": "x "}),
        ({"video": "a.mp4"}, {"video": "a.mp4", "num_frames": 4}),
    ],
)
def test_same_targets(one: dict[str, str], other: dict[str, str]) -> None:
    assert BY_REFERENCE.target(one, ROOT) == BY_REFERENCE.target(other, ROOT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "a"}, {"text": "A"}),
        ({"text": "ab"}, {"text": "a b"}),
        ({"text": "x", "image": "a.png"}, {"text": "y", "image": "a.png"}),
        ({"text": "x", "image": "a.png"}, {"text": "x", "image": "b.png"}),
        ({"image": "a.png"}, {"video": "a.png"}),
        ({"image": ["a.png", "b.png"]}, {"image": ["b.png", "a.png"]}),
    ],
)
def test_different_targets(one: dict[str, str], other: dict[str, str]) -> None:
    assert BY_REFERENCE.target(one, ROOT) != BY_REFERENCE.target(other, ROOT)


def test_a_query_is_another_one_under_another_instruction() -> None:
    asked = [
        BY_REFERENCE.query({"text": "a", "instruction": word}, ROOT) for word in ("Find.", "Find. ", "Sort.")
    ]
    assert asked[0] == asked[1] != asked[2]


def test_a_copy_of_a_picture_is_the_same_picture(tmp_path: Path) -> None:
    for name, data in (("a.png", b"one"), ("b.png", b"one"), ("c.png", b"two")):
        (tmp_path / name).write_bytes(data)
    by_bytes = Identity(MediaReader().identity)
    a, b, c = (by_bytes.target({"image": name}, tmp_path) for name in ("a.png", "b.png", "c.png"))
    assert a == b != c
    assert BY_REFERENCE.target({"image": "a.png"}, tmp_path) != BY_REFERENCE.target(
        {"image": "b.png"}, tmp_path
    )


def test_a_picture_that_is_not_there_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        Identity(MediaReader().identity).target({"image": "none.png"}, tmp_path)
    assert caught.value.hint is not None
    assert caught.value.fact.startswith("image none.png: ")


def test_a_label_is_the_target_with_its_text() -> None:
    assert BY_REFERENCE.label(" on  top") == BY_REFERENCE.target({"text": "on top"}, ROOT)


def test_literal_keys_tell_contents_apart_as_written() -> None:
    assert literal_key({"text": "a", "score": 1}) == literal_key({"text": "a"})
    assert literal_key({"text": "a"}) != literal_key({"text": "a "})
    assert literal_key({"text": "a"}) != literal_key({"text": "a", "instruction": "b"})
    assert literal_key({"video": "a"}) != literal_key({"video": "a", "num_frames": 4})


def test_relative_media_depend_on_the_media_root() -> None:
    given = (
        {"text": "a"},
        {"image": "a.png"},
        {"image": "data:image/png;base64,AA=="},
        {"video": ["/a/1.png"]},
    )
    assert [is_relative(content) for content in given] == [False, True, False, False]


def test_an_unreadable_reference_is_bad_data() -> None:
    with pytest.raises(DataError):
        is_relative({"image": "ftp://a/b.png"})
