"""Where the visual tokens stand."""

from typing import Any

import pytest

from vlm2vec_cli.engine.prompts import IMAGE_TOKEN, VIDEO_TOKEN, as_list, prompt
from vlm2vec_cli.errors import DataError

PICTURE, CLIP = IMAGE_TOKEN, VIDEO_TOKEN


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"text": "a"}, "a"),
        ({"text": ""}, ""),
        ({"instruction": "Find:", "text": "a"}, "Find: a"),
        ({"instruction": "Find:", "text": ""}, "Find:"),
        ({"instruction": "Find:"}, "Find:"),
        ({"instruction": "", "text": "a"}, "a"),
        ({"image": "x"}, f"{PICTURE} "),
        ({"image": "x", "text": "a"}, f"{PICTURE} a"),
        ({"image": "x", "instruction": "See.", "text": "a"}, f"{PICTURE} See. a"),
        ({"image": ["x", "y"], "text": "a"}, f"{PICTURE}{PICTURE} a"),
        ({"video": ["x", "y"], "text": "a"}, f"{CLIP} a"),
        ({"video": "v", "image": "x", "text": "a"}, f"{CLIP} {PICTURE} a"),
        ({"image": ["x", "y"], "text": "a <image> b <image>"}, f"a {PICTURE} b {PICTURE}"),
        ({"image": "x", "text": f"a {PICTURE}"}, f"a {PICTURE}"),
        ({"image": "x", "video": "v", "text": "<image> a"}, f"{CLIP} {PICTURE} a"),
        ({"image": "x", "video": "v", "text": "<video> a"}, f"{PICTURE} {CLIP} a"),
        ({"image": "x", "text": "\nline"}, f"{PICTURE} \nline"),
        ({"text": "<image> a"}, f"{PICTURE} a"),
        ({"text": "<video> a", "image": []}, f"{CLIP} a"),
    ],
)
def test_assembly(content: dict[str, Any], expected: str) -> None:
    assert prompt(content) == expected


def test_an_instruction_for_contents_that_have_none() -> None:
    assert prompt({"text": "a"}, "Find:") == "Find: a"
    assert prompt({"text": "a", "instruction": "Own:"}, "Find:") == "Own: a"
    assert prompt({"text": "a", "instruction": ""}, "Find:") == "a"


@pytest.mark.parametrize(
    ("content", "fact", "noun"),
    [
        ({"image": "x", "text": "<image><image>"}, "text has 2 <image> tokens for 1 images", "image"),
        ({"image": ["x", "y"], "text": "<image>"}, "text has 1 <image> tokens for 2 images", "image"),
        ({"image": "x", "text": "<image> <video>"}, "text has 1 <video> tokens for 0 videos", "video"),
        ({"video": "v", "text": "<image>"}, "text has 1 <image> tokens for 0 images", "image"),
        ({"video": ["x", "y"], "text": "<video><video>"}, "text has 2 <video> tokens for 1 videos", "video"),
    ],
)
def test_tokens_and_visuals_that_do_not_agree(content: dict[str, Any], fact: str, noun: str) -> None:
    with pytest.raises(DataError) as raised:
        prompt(content)
    assert raised.value.fact == fact
    assert raised.value.hint == f"write <{noun}> once for each {noun}, or leave it out"


def test_references_as_a_list() -> None:
    assert [as_list(value) for value in (None, "", [], "a", ["a", "b"])] == [[], [], [], ["a"], ["a", "b"]]
