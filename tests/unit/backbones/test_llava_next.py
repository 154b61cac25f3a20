"""LLaVA-NeXT against the stock processor and model, for pictures of any shape."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import golden
from backbones import LLAVA_NEXT, ROOT
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.errors import DataError

BACKBONE: Any = LLAVA_NEXT.backbone


def processor() -> Any:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_pad=False
    )
    return transformers.LlavaNextProcessor(
        images, BACKBONE.tokenizer, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip


def noise(width: int, height: int) -> Image.Image:
    drawn = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


@settings(max_examples=6)
@given(st.integers(1, 900), st.integers(1, 900))
@example(1, 700)
@example(672, 672)
def test_tiles_and_their_number_of_tokens_are_the_stock_processors(width: int, height: int) -> None:
    image = noise(width, height)
    ours = BACKBONE.picture(image)
    theirs = processor()(images=[image], text=["<image>"], return_tensors="pt")
    assert int((theirs["input_ids"] == BACKBONE._image_id).sum()) == ours.num_tokens
    std, mean = torch.tensor(pixels.STD), torch.tensor(pixels.MEAN)
    shown = (theirs["pixel_values"][0].permute(0, 2, 3, 1) * std + mean) * 255
    assert np.array_equal(shown.round().numpy().astype(np.uint8), ours.patches)


def test_vectors_are_the_stock_models() -> None:
    stock = transformers.LlavaNextForConditionalGeneration.from_pretrained(LLAVA_NEXT.model).eval()
    image = noise(500, 130)
    inputs = processor()(images=[image], text=["<image> Represent the given image."], return_tensors="pt")
    with torch.inference_mode():
        expected = stock.model(**inputs).last_hidden_state[0, -1]
        ours = BACKBONE.picture(image)
        features = BACKBONE.look([ours])
    assert torch.allclose(
        features, torch.cat(list(stock.model.get_image_features(**_pixels(inputs)).pooler_output)), atol=1e-5
    )
    encoded = golden_picture(image)
    with torch.inference_mode():
        assert torch.allclose(BACKBONE.forward([encoded])[0], expected, atol=2e-5)


def _pixels(inputs: Any) -> dict[str, Any]:
    return {name: inputs[name] for name in ("pixel_values", "image_sizes")}


def golden_picture(image: Image.Image) -> Any:
    class Given:
        def image(self, ref: str, root: Any, first: Any = None) -> Image.Image:
            return image

    return BACKBONE.encode({"text": "Represent the given image.", "image": "x"}, ROOT, Given())


def test_first_generation_texts_say_image_1() -> None:
    text = "<image>\nRepresent the given image with the following question: What is in the image\n"
    row = {"image": "images/rgb_320x240.png"}
    ours, theirs = (
        BACKBONE.encode({**row, "text": one}, ROOT, golden.media())
        for one in (text, text.replace("<image>", "<|image_1|>"))
    )
    assert ours.ids.tolist() == theirs.ids.tolist()


def test_a_stray_image_token_is_an_ordinary_token() -> None:
    assert BACKBONE.encode({"text": "<image> a cat"}, ROOT, golden.media()).visuals == ()


def test_a_video_is_refused() -> None:
    with pytest.raises(DataError, match="llava_next has no video input"):
        BACKBONE.encode({"video": ["a.png"]}, ROOT, golden.media())
