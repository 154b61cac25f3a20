"""Layouts of published repositories, made at small size: each loads with the right vectors."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import golden
from backbones import GME, LLAVA_NEXT, PHI3_V, QWEN2_5_VL, Family
from embed_run import TEXTS, TOLERANCE, distance, embed, refused, rows, tensors
from warm import Warm


def test_a_folder_named_like_a_repository_is_known_for_what_it_is(warm: Warm, folder: Any) -> None:
    model = folder(GME.model, "gme-Qwen2-VL-2B-Instruct")
    assert distance(embed(warm, rows(GME, GME.ids), "-m", model), GME) <= TOLERANCE
    high = "i5_tiny@high"
    model = folder(LLAVA_NEXT.model, "VLM2Vec-LLaVa-Next")
    assert distance(embed(warm, rows(LLAVA_NEXT, [high]), "-m", model), LLAVA_NEXT) <= TOLERANCE
    model = folder(PHI3_V.model, "VLM2Vec-Full")
    names = ["t1_query", "i4_wide@crops4", "i7_token_last@crops4"]
    assert distance(embed(warm, rows(PHI3_V, names), "-m", model), PHI3_V) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "adapter", "release", "limits"),
    [
        (GME, golden.ADAPTER, "VLM2Vec-Qwen2VL-2B", {"resize": "high"}),
        (PHI3_V, PHI3_V.root / "adapter", "VLM2Vec-LoRA", {"num_crops": 4}),
    ],
    ids=["qwen2_vl", "phi3_v"],
)
def test_an_adapter_named_like_a_repository_is_known_for_what_it_is_on_a_named_base(
    family: Family, adapter: Path, release: str, limits: dict[str, Any], warm: Warm, folder: Any
) -> None:
    row = {"text": "<|image_1|> what is it", "image": "images/tiny_20x16.png"}
    own = warm.write("own.json", json.dumps({"prompt_family": "vlm2vec-v1", "limits": limits}))
    told = embed(warm, [row], "-m", family.model, "--adapter", adapter, "--model-config", own).rows[0]
    known = embed(warm, [row], "-m", family.model, "--adapter", folder(adapter, release)).rows[0]
    assert known["embedding"] == told["embedding"]
    assert known["fingerprint"] == told["fingerprint"]
    plain = embed(warm, [row], "-m", family.model, "--adapter", adapter)
    assert plain.rows[0]["fingerprint"] != known["fingerprint"]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("family", [PHI3_V, QWEN2_5_VL], ids=lambda family: family.name)
def test_bin_weights_are_read(family: Family, shards: int, warm: Warm, folder: Any) -> None:
    model = folder(family.model, "model")
    state = tensors(model)
    names = sorted(state)
    parts = [names[number::shards] for number in range(shards)]
    files = ["pytorch_model.bin"] if shards == 1 else ["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"]
    for file, part in zip(files, parts, strict=True):
        torch.save({name: state[name] for name in part}, model / file)
    if shards > 1:
        places = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        (model / "pytorch_model.bin.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": places})
        )
    assert distance(embed(warm, rows(family, TEXTS), "-m", model), family) <= TOLERANCE


@pytest.mark.parametrize("table", ["model.embed_tokens.weight", "model.vision_embed_tokens.wte.weight"])
def test_the_token_table_of_phi_may_have_either_name(table: str, warm: Warm, folder: Any) -> None:
    model = folder(PHI3_V.model, "model")
    state = tensors(model)
    other = {"model.embed_tokens.weight", "model.vision_embed_tokens.wte.weight"} - {table}
    save_file(
        {name: tensor for name, tensor in state.items() if name not in other}, model / "model.safetensors"
    )
    assert distance(embed(warm, rows(PHI3_V, TEXTS), "-m", model), PHI3_V) <= TOLERANCE


def test_missing_processor_files_are_not_missed(warm: Warm, folder: Any) -> None:
    model = folder(LLAVA_NEXT.model, "model")
    for name in ("processor_config.json", "preprocessor_config.json"):
        (model / name).unlink()
    assert distance(embed(warm, rows(LLAVA_NEXT, ["i5_tiny"]), "-m", model), LLAVA_NEXT) <= TOLERANCE


def test_an_adapter_repository_without_its_base_takes_the_known_one(warm: Warm, folder: Any) -> None:
    adapter = folder(PHI3_V.root / "adapter", "VLM2Vec-LoRA")
    lines = refused(embed(warm, [{"text": "a"}], "-m", adapter))
    fact = "base model 'microsoft/Phi-3.5-vision-instruct' of the adapter is not available"
    assert lines[0].startswith(f"vlm2vec: error: {adapter}: {fact}")
    own = warm.write("own.json", json.dumps({"base": str(PHI3_V.model)}))
    done = embed(warm, rows(PHI3_V, TEXTS), "-m", adapter, "--model-config", own)
    assert distance(done, PHI3_V, "emb_adapter_merged_crops4") <= TOLERANCE


def test_keys_of_the_current_library_are_as_good(warm: Warm, folder: Any) -> None:
    adapter = folder(PHI3_V.root / "adapter", "adapter")
    state = load_file(adapter / "adapter_model.safetensors")
    tower = "base_model.model.model.vision_embed_tokens.img_processor.vision_model."
    save_file(
        {
            name.replace(tower, "base_model.model.model.vision_tower.")
            .replace("base_model.model.model.layers", "base_model.model.model.language_model.layers")
            .replace("magnitude_vector", "magnitude_vector.weight"): tensor
            for name, tensor in state.items()
        },
        adapter / "adapter_model.safetensors",
    )
    done = embed(warm, rows(PHI3_V, TEXTS), "-m", PHI3_V.model, "--adapter", adapter)
    assert distance(done, PHI3_V, "emb_adapter_merged_crops4") <= TOLERANCE


def test_a_merged_repository_ignores_the_adapter_it_still_holds(warm: Warm, folder: Any) -> None:
    model = folder(PHI3_V.model, "model")
    for path in (PHI3_V.root / "adapter").iterdir():
        shutil.copy(path, model)
    done = embed(warm, rows(PHI3_V, TEXTS), "-m", model)
    assert distance(done, PHI3_V) <= TOLERANCE
    assert b"full weights and an adapter; the weights are used, the adapter is left out" in done.stderr
