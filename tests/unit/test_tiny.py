"""`tiny` is an ordinary checkpoint, small, and the same for the same texts and seed."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

import golden
from vlm2vec_cli import checkpoints, tiny

TEXTS = ["Find an image that matches the caption: a red apple on a table", "A cat & 3 dogs\n", "北京大学 😀"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    tiny.create(made, TEXTS, 42)
    return made


def test_stock_libraries_load_it(folder: Path) -> None:
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert 1_000_000 < numbers < 4_000_000, "about two million parameters"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert model.config.image_token_id == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert model.config.video_token_id == tokenizer.convert_tokens_to_ids("<|video_pad|>")
    assert model.config.text_config.vocab_size == len(tokenizer)


def test_we_load_it_and_it_sees_texts_pictures_and_clips(folder: Path) -> None:
    found = checkpoints.find(str(folder))
    backbone = checkpoints.load(found, found.limits(), dtype=torch.float32, device="cpu")
    assert backbone.limits == tiny.LIMITS
    names = ("t05_non_ascii", "i04_tiny_10x12", "v02_video_5f_text")
    contents = [golden.parts(name) for name in names]
    encoded = [backbone.encode(content, golden.ROOT, golden.media()) for content in contents]
    assert encoded[1].num_tokens > 4
    assert encoded[2].visuals[0].grid[0] == tiny.LIMITS.num_frames // 2
    with torch.inference_mode():
        states = backbone.forward(encoded)
    assert states.shape == (3, backbone.dim)
    assert states.isfinite().all()


def test_any_text_survives_its_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in (*TEXTS, "never seen: Ωmega €5", "  two  blanks ", "\x00\x7f"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    ids = tokenizer("<|image_pad|><|image_pad|> a")["input_ids"]
    assert ids[:2] == [tokenizer.convert_tokens_to_ids("<|image_pad|>")] * 2


def test_the_same_texts_and_seed_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    tiny.create(tmp_path, TEXTS, 42)
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator is not touched"
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    tiny.create(tmp_path / "other", TEXTS, 43)
    weights = "model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (folder / weights).read_bytes()
    assert json.loads((tmp_path / "other" / "vlm2vec.json").read_text())["seed"] == 43


def test_no_texts_give_a_model_of_bytes(tmp_path: Path) -> None:
    tiny.create(tmp_path, [], 1)
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == 256 + 14
