"""Phi-3.5-V: image tags, the HD transform, and long rows beside short ones."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import golden
from backbones import PHI3_V, ROOT
from vlm2vec_cli.engine.tiles import hd_transform
from vlm2vec_cli.errors import DataError

BACKBONE: Any = PHI3_V.backbone
PICTURE = "images/tiny_20x16.png"


def encode(**row: Any) -> Any:
    return BACKBONE.encode(row, ROOT, golden.media())


def test_rows_say_image_and_the_model_reads_numbered_tags() -> None:
    written = encode(text="<|image_1|> and <|image_2|>", image=[PICTURE, PICTURE])
    assert encode(text="<image> and <image>", image=[PICTURE, PICTURE]).ids.tolist() == written.ids.tolist()
    front = encode(text="<|image_1|><|image_2|> ab", image=[PICTURE, PICTURE])
    assert encode(text="ab", image=[PICTURE, PICTURE]).ids.tolist() == front.ids.tolist()


def test_a_tag_out_of_order_stands_for_the_picture_of_its_number() -> None:
    pair = [PICTURE, "images/wide_700x90.png"]
    crossed = encode(text="<|image_2|> and <|image_1|>", image=pair)
    straight = encode(text="<|image_1|> and <|image_2|>", image=pair[::-1])
    assert crossed.ids.tolist() == straight.ids.tolist()
    assert [seen.key for seen in crossed.visuals] == [seen.key for seen in straight.visuals]


def test_a_picture_alone_stands_between_two_start_tokens() -> None:
    encoded = encode(text="<image>", image=PICTURE)
    rest = np.delete(encoded.ids, encoded.slots)
    assert rest.tolist() == [1, 1]


@pytest.mark.parametrize("text", ["<|image_2|>", "<|image_1|> <|image_1|>", "<image> <image>"])
def test_tags_and_pictures_must_agree(text: str) -> None:
    with pytest.raises(DataError, match=r"text has the image tags \[.*\] for 1 images"):
        encode(text=text, image=PICTURE)


def test_without_a_picture_a_tag_is_text() -> None:
    assert encode(text="<image> a cat").ids.tolist() == encode(text="<|image_1|> a cat").ids.tolist()
    assert encode(text="<|image_1|> a cat").visuals == ()


def test_a_video_is_refused() -> None:
    with pytest.raises(DataError, match="phi3_v has no video input"):
        encode(video=["a.png"])


def test_texts_alone_are_cut() -> None:
    from dataclasses import replace

    kept, BACKBONE.limits = BACKBONE.limits, replace(BACKBONE.limits, max_length=8)
    try:
        text, picture = encode(text="a " * 50), encode(text="a " * 50, image=PICTURE)
    finally:
        BACKBONE.limits = kept
    assert text.num_tokens == 8
    assert picture.num_tokens > 700


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 20))
@settings(max_examples=15)
def test_the_transform_keeps_to_the_number_of_crops(width: int, height: int, crops: int) -> None:
    image = Image.new("RGB", (min(width, 40 * height), min(height, 40 * width)))
    high, wide, _ = hd_transform(image, crops, 336).shape
    assert high % 336 == wide % 336 == 0
    assert (high // 336) * (wide // 336) <= crops
    turned = hd_transform(image.transpose(Image.Transpose.TRANSPOSE), crops, 336).shape
    assert image.width == image.height or turned[:2] == (wide, high)


@pytest.mark.parametrize(
    ("size", "few", "many"),
    [((500, 500), 757, 2509), ((640, 480), 757, 1921), ((700, 90), 745, 2485), ((1240, 1754), 757, 1933)],
)
def test_numbers_of_tokens_are_the_published_ones(size: tuple[int, int], few: int, many: int) -> None:
    from dataclasses import replace

    image, kept, found = Image.new("RGB", size), BACKBONE.limits, []
    for crops in (4, 16):
        BACKBONE.limits = replace(kept, num_crops=crops)
        found.append(BACKBONE.picture(image).num_tokens)
    BACKBONE.limits = kept
    assert found == [few, many]


def test_a_plain_padded_forward_gives_the_same_states() -> None:
    """The second judge: eager attention over a batch padded on the right, short rows alone."""
    names = ["t1_query", "i4_wide@crops4", "t3_non_ascii"]
    rows = [PHI3_V.encoded(name) for name in names]
    model = PHI3_V.fresh().model
    decoder = model.language_model
    decoder.config._attn_implementation = "eager"
    width = max(row.num_tokens for row in rows)
    with torch.inference_mode():
        states = torch.zeros(len(rows), width, BACKBONE.dim)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for number, row in enumerate(rows):
            states[number, : row.num_tokens] = decoder.embed_tokens(torch.from_numpy(row.ids))
            mask[number, : row.num_tokens] = 1
            if row.visuals:
                states[number, torch.from_numpy(row.slots)] = BACKBONE.look(row.visuals)
        out = decoder(inputs_embeds=states, attention_mask=mask, use_cache=False).last_hidden_state
    plain = torch.stack([out[number, row.num_tokens - 1] for number, row in enumerate(rows)])
    assert torch.allclose(PHI3_V.states(names), plain, atol=2e-5)


def test_a_long_row_leaves_the_rotary_factors_of_short_ones_alone() -> None:
    long, short = "i4_wide", "t1_query"
    assert PHI3_V.encoded(long).num_tokens > BACKBONE._short > PHI3_V.encoded(short).num_tokens
    mixed = PHI3_V.states([short, long, short])
    assert torch.allclose(mixed[0], PHI3_V.states([short])[0], atol=1e-5)
    assert torch.allclose(mixed[1], PHI3_V.states([long])[0], atol=1e-5)
    assert torch.equal(mixed[0], mixed[2])
