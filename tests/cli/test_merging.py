"""Adapters merged into full weights: plain transformers loads them with the vectors of base and adapter."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import golden
from backbones import LLAVA_NEXT, PHI3_V, QWEN2_5_VL, ROOT, qwen3_vl
from embed_run import TEXTS, TOLERANCE, distance, embed, refused, rows
from vlm2vec_cli import merging
from vlm2vec_cli.backbones._stock import OfTransformers
from vlm2vec_cli.engine import prompts
from warm import Warm

SLOW = pytest.mark.slow
PICTURE = "images/tiny_20x16.png"


def test_the_references_adapters_merge(warm: Warm) -> None:
    adapter = PHI3_V.root / "adapter"
    merge(warm, PHI3_V.model, adapter)
    merged = warm.work / "merged"
    done = embed(warm, rows(PHI3_V, TEXTS), "-m", merged)
    assert distance(done, PHI3_V, "emb_adapter_merged_crops4") <= TOLERANCE
    twice = refused(embed(warm, [{"text": "a"}], "-m", merged, "--adapter", adapter), 2)
    assert twice == [
        f"vlm2vec: error: --adapter {adapter}: {merged} already holds this adapter",
        "hint: leave --adapter out",
    ]
    again = refused(warm("embed", "-m", PHI3_V.model, "--merge-to", "merged"), 2)
    assert again == ["vlm2vec: error: --merge-to merged: not an empty folder"]


def test_merged_qwen2_is_the_references_vector_in_plain_transformers(warm: Warm) -> None:
    merge(warm, golden.MODEL, golden.ADAPTER)
    name = "t03_plain_candidate"
    expected = golden.arrays()["emb_single_adapter_merged"][golden.facts()["ids"].index(name)]
    ours = embed(warm, [golden.content(name)], "-m", warm.work / "merged").rows[0]["embedding"]
    plain = unit(
        states(stock(warm.work / "merged"), **tokens(warm.work / "merged", golden.content(name)["text"]))
    )
    assert np.abs(np.array(ours) - expected).max() <= TOLERANCE
    assert np.abs(plain - expected).max() <= TOLERANCE


@pytest.mark.parametrize(
    "kind",
    ["qwen3_vl", *(pytest.param(one, marks=SLOW) for one in ("qwen2_vl", "qwen2_5_vl", "llava_next"))],
)
def test_merged_weights_are_those_of_plain_peft(kind: str, warm: Warm) -> None:
    """The base in transformers with the adapter on it by peft, and the merged folder in transformers: one
    vector for a text and one for a picture, and ours are the same."""
    from peft import PeftModel

    models = {"qwen2_vl": golden.MODEL, "qwen2_5_vl": QWEN2_5_VL.model, "llava_next": LLAVA_NEXT.model}
    base = models.get(kind, warm.work / "base")
    if kind == "qwen3_vl":
        qwen3_vl(base)
    train(warm, base)
    merge(warm, "run")
    run, merged = warm.work / "run", warm.work / "merged"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft's own use of transformers
        with_peft = PeftModel.from_pretrained(stock(base), run).eval().base_model.model
    plain = stock(merged)
    for content in ({"text": "what is 1"}, {"text": "what is 1", "image": PICTURE}):
        ours = np.array(embed(warm, [content], "-m", merged).rows[0]["embedding"])
        given = inputs(kind, merged, content)
        assert np.abs(unit(states(plain, **given)) - ours).max() <= TOLERANCE
        assert np.abs(unit(states(with_peft, **given)) - ours).max() <= TOLERANCE
        assert np.abs(unit(states(stock(base), **given)) - ours).max() > 1e-4


@pytest.mark.parametrize(
    "kind", ["qwen2_vl", pytest.param("qwen3_vl", marks=SLOW), pytest.param("llava_next", marks=SLOW)]
)
def test_a_merged_folder_holds_what_servers_read(kind: str, warm: Warm) -> None:
    """Class, tensor names, processor and tokenizer files as in the families' own repositories."""
    base = {"qwen2_vl": golden.MODEL, "llava_next": LLAVA_NEXT.model}.get(kind, warm.work / "base")
    if kind == "qwen3_vl":
        qwen3_vl(base)
    merge(warm, base)
    merged = warm.work / "merged"
    config = json.loads((merged / "config.json").read_bytes())
    classes = {"qwen2_vl": "Qwen2VL", "qwen3_vl": "Qwen3VL", "llava_next": "LlavaNext"}
    assert config["architectures"] == [f"{classes[kind]}ForConditionalGeneration"]
    assert config["model_type"] == kind
    assert names(merged) == names(base)
    assert {"tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "vlm2vec.json"} <= {
        path.name for path in merged.iterdir()
    }
    from transformers import AutoTokenizer

    spoken = AutoTokenizer.from_pretrained(merged)
    if kind == "qwen3_vl":
        assert spoken.chat_template == AutoTokenizer.from_pretrained(base).chat_template
        return
    token = "<image>" if kind == "llava_next" else prompts.IMAGE_TOKEN
    for content in ({"text": "a"}, {"text": "a", "instruction": "Find:"}, {"image": ["x", "y"], "text": "a"}):
        assert spoken.apply_chat_template(messages(content), tokenize=False) == prompts.prompt(
            content, image_token=token
        )


def messages(content: dict[str, Any]) -> list[dict[str, Any]]:
    """A content as chat messages."""
    system = [{"role": "system", "content": content["instruction"]}] if "instruction" in content else []
    seen = [{"type": "image"} for _ in content.get("image", [])]
    return [*system, {"role": "user", "content": [*seen, {"type": "text", "text": content["text"]}]}]


def merge(warm: Warm, model: str | Path, adapter: Path | None = None) -> None:
    done = warm("embed", "-m", model, *(("--adapter", adapter) if adapter else ()), "--merge-to", "merged")
    assert (done.exit_code, done.stdout) == (0, b"")


def train(warm: Warm, model: Path) -> None:
    pairs = [{"query": {"text": f"what is {n}"}, "positive": {"text": f"the answer {n}"}} for n in range(4)]
    done = warm(
        "train", "-m", model, "--lora", "--lora-r", "2", "--batch-size", "4", "--max-steps", "2", "--dora",
        "--warmup-steps", "1", "--learning-rate", "0.01", "--precision", "fp32", "--device", "cpu",
        "-o", "run", stdin=b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs),
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, b"")


def stock(folder: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder).eval()


def tokens(folder: Path, text: str) -> dict[str, Any]:
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt"))


def inputs(kind: str, folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What the stock processor makes of a content, written as the family was trained."""
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    picture = Image.open(ROOT / PICTURE).convert("RGB") if "image" in content else None
    text = content["text"]
    if kind == "llava_next":
        from transformers import AutoProcessor

        processor = AutoProcessor.from_pretrained(folder)
        return dict(
            processor(text=f"<image> {text}" if picture else text, images=picture, return_tensors="pt")
        )
    if kind == "qwen3_vl":
        seen = "<|vision_start|><|image_pad|><|vision_end|>" if picture else ""
        text = (
            "<|im_start|>system\nRepresent the user's input.<|im_end|>\n"
            f"<|im_start|>user\n{seen}{text}<|im_end|>\n<|im_start|>assistant\n"
        )
    elif picture:
        picture, text = picture.resize((56, 56)), f"<|image_pad|> {text}"
    given: dict[str, Any] = {}
    if picture:
        given = dict(Qwen2VLImageProcessorPil.from_pretrained(folder)([picture], return_tensors="pt"))
        copies = int(given["image_grid_thw"].prod()) // 4
        text = text.replace("<|image_pad|>", "<|image_pad|>" * copies)
    given |= tokens(folder, text)
    if kind == "qwen3_vl":
        if picture:
            image_id = json.loads((folder / "config.json").read_bytes())["image_token_id"]
            given["mm_token_type_ids"] = (given["input_ids"] == image_id).long()
    else:
        given["position_ids"] = torch.arange(given["input_ids"].shape[1]).expand(3, 1, -1)
    return given


@torch.inference_mode()
def states(model: Any, **given: Any) -> Any:
    return model.model(**given).last_hidden_state[0, -1]


def unit(state: Any) -> np.ndarray:
    return torch.nn.functional.normalize(state, dim=-1).numpy()


def names(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as stored:
            found |= set(stored.keys())
    return found


@pytest.mark.parametrize("failing", ["save", "write"])
def test_an_aborted_merge_leaves_nothing(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    target: Any = OfTransformers if failing == "save" else Path
    monkeypatch.setattr(target, "save" if failing == "save" else "write_text", broken)
    with pytest.raises(KeyboardInterrupt):
        merging.merge(str(golden.MODEL), tmp_path / "new" / "merged")
    assert [*(tmp_path / "new").iterdir()] == []


def test_a_folder_that_cannot_be_made_is_refused_before_the_model_is_loaded(
    warm: Warm, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for name, fact in (
        ("file", "not an empty folder"),
        ("full", "not an empty folder"),
        ("file/merged", f"no folder can be made in {tmp_path / 'file'}"),
        ("file/new/merged", f"no folder can be made in {tmp_path / 'file'}"),
    ):
        lines = refused(warm("embed", "-m", "nowhere", "--merge-to", name), 2)
        assert lines == [f"vlm2vec: error: --merge-to {name}: {fact}"]


def test_an_empty_folder_may_be_there(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    merge(warm, golden.MODEL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged"]
    assert (tmp_path / "merged" / "model.safetensors").is_file()
