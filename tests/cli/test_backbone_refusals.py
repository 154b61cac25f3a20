"""Damaged, foreign and misdescribed model folders: each is refused with its exact message."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import golden
from backbones import GME, LLAVA_NEXT, PHI3_V, QWEN2_5_VL, Family
from embed_run import embed, refused, tensors
from warm import Warm


def _missing_shard(model: Path) -> tuple[str, str]:
    (model / "model-00002-of-00002.safetensors").unlink()
    return str(model), "weight file model-00002-of-00002.safetensors is missing (1 of 2)"


def _truncated(model: Path) -> tuple[str, str]:
    path = model / "model-00002-of-00002.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1000])
    return str(path), f"the file is cut off or damaged: {size - 1000:,} of {size:,} bytes"


def _no_header(model: Path) -> tuple[str, str]:
    path = model / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    return str(path), "the file is cut off or damaged: 100 bytes without a whole header"


def _foreign_tensor(model: Path) -> tuple[str, str]:
    path = model / "model-00002-of-00002.safetensors"
    save_file({**load_file(path), "model.foreign": torch.ones(1)}, path, metadata={"format": "pt"})
    return str(model), "unexpected keys in the weights: model.foreign (1 in all)"


def _other_config(model: Path) -> tuple[str, str]:
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "model_type": "bert"}))
    return str(path), "model_type 'bert' is not supported"


CORRUPTIONS = (_missing_shard, _truncated, _no_header, _foreign_tensor, _other_config)


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("family", [PHI3_V, LLAVA_NEXT], ids=lambda family: family.name)
def test_a_damaged_model_is_refused(family: Family, corrupt: Any, warm: Warm, folder: Any) -> None:
    model = folder(family.model, "model")
    place, fact = corrupt(model)
    assert refused(embed(warm, [{"text": "a"}], "-m", model))[0] == f"vlm2vec: error: {place}: {fact}"


def test_a_truncated_bin_file_is_refused(warm: Warm, folder: Any) -> None:
    model = folder(PHI3_V.model, "model")
    tensors(model)
    path = model / "pytorch_model.bin"
    torch.save({"x": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    size = path.stat().st_size
    assert refused(embed(warm, [{"text": "a"}], "-m", model)) == [
        f"vlm2vec: error: {path}: the file is cut off or damaged: "
        f"{size:,} bytes without the end of the archive",
        "hint: download it again",
    ]


def test_a_missing_bin_shard_is_refused(warm: Warm, folder: Any) -> None:
    model = folder(PHI3_V.model, "model")
    names = sorted(tensors(model))
    places = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(names)}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    torch.save({}, model / "pytorch_model-00001-of-00002.bin")
    assert refused(embed(warm, [{"text": "a"}], "-m", model)) == [
        f"vlm2vec: error: {model}: weight file pytorch_model-00002-of-00002.bin is missing (1 of 2)",
        "hint: download the model again",
    ]


@pytest.mark.parametrize(
    ("family", "name", "shown"),
    [
        (PHI3_V, "model.layers.1.self_attn.o_proj.weight", None),
        (LLAVA_NEXT, "multi_modal_projector.linear_1.bias", "model.multi_modal_projector.linear_1.bias"),
        (
            GME,
            "model.layers.1.self_attn.v_proj.weight",
            "model.language_model.layers.1.self_attn.v_proj.weight",
        ),
    ],
    ids=["phi3_v", "llava_next", "qwen2_vl"],
)
def test_a_missing_tensor_is_refused(
    family: Family, name: str, shown: str | None, warm: Warm, folder: Any
) -> None:
    """By its name in the library's layout where the library loads it."""
    model = folder(family.model, "model")
    state = tensors(model)
    del state[name]
    save_file(state, model / "model.safetensors")
    for index in model.glob("*.index.json"):
        index.unlink()
    assert refused(embed(warm, [{"text": "a"}], "-m", model)) == [
        f"vlm2vec: error: {model}: missing keys in the weights: {shown or name} (1 in all)",
        "hint: the files do not belong to this config.json, or a shard is missing",
    ]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (PHI3_V.model, "missing adapter keys: {0}mlp.gate_up_proj.lora_A.weight, {0}mlp.gate_up_proj.lora_B"),
        (
            QWEN2_5_VL.model,
            "missing adapter keys: base_model.model.visual.blocks.0.mlp.down_proj.lora_A.weight",
        ),
    ],
    ids=["another decoder", "another tower"],
)
def test_an_adapter_on_a_wrong_base_is_refused(model: Path, keys: str, warm: Warm) -> None:
    first, hint = refused(embed(warm, [{"text": "a"}], "-m", model, "--adapter", golden.ADAPTER))
    layer = "base_model.model.language_model.layers.0."
    path = golden.ADAPTER / "adapter_model.safetensors"
    assert first.startswith(f"vlm2vec: error: {path}: {keys.format(layer)}")
    assert hint == "hint: the adapter belongs to another model, or its file is incomplete"


@pytest.mark.parametrize(
    ("facts", "code", "message"),
    [
        ({"prompt_family": "v9"}, 69, "no prompt family 'v9' for model_type 'qwen2_5_vl'"),
        ({"promt_family": "gme"}, 65, "{path}: unknown field 'promt_family'"),
        ({"limits": []}, 65, "{path}: limits: expected dict, got []"),
        ({"pooling": "mean"}, 69, "{model}: pooling 'mean' is not supported"),
        ({"limits": {"crops": 4}}, 69, "{model}: unknown limit 'crops'"),
        ({"limits": {"resize": "huge"}}, 69, "{model}: unknown resize 'huge'"),
    ],
)
def test_a_wrong_model_config_is_refused(facts: dict[str, Any], code: int, message: str, warm: Warm) -> None:
    path = warm.write("own.json", json.dumps(facts))
    lines = refused(embed(warm, [{"text": "a"}], "-m", QWEN2_5_VL.model, "--model-config", path), code)
    assert lines[0] == "vlm2vec: error: " + message.format(path=path, model=QWEN2_5_VL.model)
