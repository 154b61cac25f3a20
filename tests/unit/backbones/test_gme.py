"""GME: the chat frame, whose instruction counts, which picture is seen, where a text is cut."""

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

import golden
from backbones import GME, ROOT
from vlm2vec_cli.backbones.gme import _size

BACKBONE: Any = GME.backbone
PICTURE = "images/square_200.png"


def ids(**row: Any) -> list[int]:
    return BACKBONE.encode(row, ROOT, golden.media()).ids.tolist()


def rendered(row: dict[str, Any]) -> str:
    return BACKBONE.tokenizer.decode(ids(**row))


@pytest.mark.parametrize("name", GME.ids)
def test_the_frame_is_the_references(name: str) -> None:
    assert rendered(GME.content(name)) == GME.inputs[name]["rendered_text"]


@pytest.mark.parametrize(
    ("row", "system", "user"),
    [
        ({"image": PICTURE, "instruction": "Find it."}, "Find it.", "{seen}"),
        ({"text": ""}, "You are a helpful assistant.", ""),
        ({"text": "", "image": PICTURE, "instruction": ""}, "You are a helpful assistant.", "{seen}"),
        # How the benchmark writes an instruction without a text: nothing is cut off.
        ({"text": "Find it. ", "image": PICTURE}, "You are a helpful assistant.", "{seen}Find it. "),
        (
            {"text": "<image>\n\nWhat? \n", "image": PICTURE},
            "You are a helpful assistant.",
            "{seen}\nWhat? \n",
        ),
    ],
)
def test_the_frame_holds_what_a_row_says_and_nothing_else(
    row: dict[str, Any], system: str, user: str
) -> None:
    copies = len(BACKBONE.encode(row, ROOT, golden.media()).slots)
    seen = f"<|vision_start|>{'<|image_pad|>' * copies}<|vision_end|>"
    assert rendered(row) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user.format(seen=seen)}<|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>"
    )


def test_the_instruction_of_a_candidate_is_the_default() -> None:
    row = {"text": "a cat", "instruction": "Find it."}
    assert "system\nFind it.<" in rendered({**row, "role": "query"})
    assert ids(**row, role="candidate") == ids(text="a cat")


@pytest.mark.parametrize("token", ["<image>", "<|image_pad|>", "<|image_1|>", "<video>"])
@pytest.mark.parametrize("after", ["\n", " ", ""])
def test_tokens_of_a_text_go_with_the_blank_behind_them(token: str, after: str) -> None:
    assert ids(text=f"{token}{after}a cat", image=PICTURE) == ids(text="a cat", image=PICTURE)


def test_of_several_pictures_the_middle_one_is_seen() -> None:
    pictures = ["images/wide_700x90.png", "images/tiny_20x16.png", PICTURE, "images/odd_251x333.png"]
    alone = BACKBONE.encode({"image": PICTURE}, ROOT, golden.media()).visuals[0].key
    for row in ({"image": pictures}, {"video": pictures}):
        (seen,) = BACKBONE.encode(row, ROOT, golden.media()).visuals
        assert seen.key == alone


def test_the_rendered_text_is_cut_on_the_right() -> None:
    assert len(ids(text="word " * 3000)) == 1800
    assert ids(text="word " * 3000)[-1] != ids(text="word")[-1]
    with_picture = BACKBONE.encode({"text": "word " * 3000, "image": PICTURE}, ROOT, golden.media())
    assert with_picture.num_tokens == 1800


def test_a_cut_never_reaches_a_picture() -> None:
    kept, BACKBONE.limits = BACKBONE.limits, replace(BACKBONE.limits, max_length=10)
    try:
        encoded = BACKBONE.encode({"image": PICTURE}, ROOT, golden.media())
    finally:
        BACKBONE.limits = kept
    assert encoded.num_tokens == encoded.slots[-1] + 1
    assert len(encoded.slots) == encoded.visuals[0].num_tokens


@pytest.mark.parametrize(
    ("given", "expected"),
    [((320, 240), (308, 252)), ((200, 200), (196, 196)), ((20, 16), (84, 56)), ((9000, 28), (5600, 28))],
)
def test_the_first_resize_is_gmes_own(given: tuple[int, int], expected: tuple[int, int]) -> None:
    assert _size(Image.new("RGB", given)) == expected
