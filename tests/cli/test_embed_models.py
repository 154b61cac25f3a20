"""Models and adapters that `vlm2vec embed` refuses or warns of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import golden
from embed_items import copy, refusal, texts, tiny
from warm import Warm


def edited(tmp_path: Path, change: Any) -> str:
    """An adapter with other tensors, beside its base."""
    copy(golden.MODEL, tmp_path / "tiny_qwen2vl")
    adapter = copy(golden.ADAPTER, tmp_path / "adapter")
    state = load_file(adapter / "adapter_model.safetensors")
    change(state)
    save_file(state, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    return "adapter"


Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q0_INNER = "base_model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"


def remove(state: dict[str, np.ndarray]) -> None:
    del state[Q0]


def add(state: dict[str, np.ndarray]) -> None:
    state["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = np.zeros((16, 64), np.float32)


def reshape(state: dict[str, np.ndarray]) -> None:
    state[Q0] = np.zeros((8, 64), np.float32)


@pytest.mark.parametrize(
    ("change", "fact", "hint"),
    [
        (
            remove,
            f"missing adapter keys: {Q0_INNER} (1 of 84)",
            "the adapter belongs to another model, or its file is incomplete",
        ),
        (
            add,
            f"unexpected adapter keys: {Q0_INNER.replace('.0.', '.9.')} (1 of 84)",
            "the adapter belongs to another model, or its file is incomplete",
        ),
        (
            reshape,
            f"adapter tensor {Q0_INNER} has shape (8, 64), not (16, 64)",
            "the adapter belongs to another base model",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    warm: Warm, tmp_path: Path, change: Any, fact: str, hint: str
) -> None:
    done = tiny(warm, texts(), "-m", edited(tmp_path, change))
    assert refusal(done, 69) == [
        f"vlm2vec: error: adapter/adapter_model.safetensors: {fact}",
        f"hint: {hint}",
    ]


def test_an_adapter_of_zeros_is_said(warm: Warm, tmp_path: Path) -> None:
    def clear(state: dict[str, np.ndarray]) -> None:
        for name in state:
            if ".lora_B." in name:
                state[name] = np.zeros_like(state[name])

    done = tiny(warm, texts(), "-m", edited(tmp_path, clear))
    assert done.exit_code == 0
    assert done.stderr == (
        b"vlm2vec: warning: adapter: the adapter is all zeros; the model behaves like its base\n"
    )


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (["-m", "nowhere"], "vlm2vec: error: nowhere: no such model folder"),
        (["-m", "some/where"], "vlm2vec: error: some/where: cannot be fetched from the hub: "),
        (["-m", "empty"], "vlm2vec: error: empty: no weights and no adapter in this folder"),
        (["--adapter", "empty"], "vlm2vec: error: empty: no adapter_config.json"),
        (
            ["-m", "lonely"],
            "vlm2vec: error: lonely: base model 'tiny_qwen2vl' of the adapter is not available: ",
        ),
        (["-m", "other"], "vlm2vec: error: other/config.json: model_type 'bert' is not supported"),
        (["-m", "bare"], "vlm2vec: error: bare/config.json: no field 'img_processor'"),
        (["-m", "cut"], "vlm2vec: error: cut/model.safetensors: the file is cut off or damaged: "),
        (["-m", "prefix"], "vlm2vec: error: prefix/adapter_config.json: peft_type 'PREFIX' is not supported"),
        (
            ["--adapter", "broken"],
            "vlm2vec: error: broken/adapter_model.safetensors: the file is cut off or damaged: ",
        ),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line_and_a_hint(
    warm: Warm, tmp_path: Path, args: list[str], first: str
) -> None:
    (tmp_path / "empty").mkdir()
    name = args[-1]
    if name in ("lonely", "prefix", "broken"):
        adapter = copy(golden.ADAPTER, tmp_path / name)
        config = json.loads((adapter / "adapter_config.json").read_text())
        if name != "lonely":
            config["base_model_name_or_path"] = str(golden.MODEL)
        if name == "prefix":
            config["peft_type"] = "PREFIX"
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        if name == "broken":
            (adapter / "adapter_model.safetensors").write_bytes(b"nothing")
    if name in ("other", "bare"):
        copy(golden.MODEL, tmp_path / name)
        kind = "bert" if name == "other" else "phi3_v"
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    if name == "cut":
        path = copy(golden.MODEL, tmp_path / name) / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    lines = refusal(tiny(warm, texts(), *args), 69)
    assert lines[0].startswith(first)
    assert len(lines) == 1 + (name != "bare")
    assert all(line.startswith("hint: ") for line in lines[1:])


def test_the_default_model_is_asked_for_by_its_name_when_offline(warm: Warm) -> None:
    done = warm("embed", stdin=texts())
    assert refusal(done, 69)[0].startswith("vlm2vec: error: VLM2Vec/VLM2Vec-V2.0: cannot be fetched")


def test_weights_that_are_not_finite_are_said_and_nothing_is_written(warm: Warm, tmp_path: Path) -> None:
    folder = copy(golden.MODEL, tmp_path / "nan")
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"] = np.full_like(state["model.norm.weight"], np.nan)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    done = tiny(warm, texts(), "-m", "nan", "-o", "out.jsonl")
    fact, hint = refusal(done, 69)
    assert fact.startswith("vlm2vec: error: nan: the model gives vectors that are not finite: stdin line ")
    assert fact.endswith(" and 1 more")
    assert hint == "hint: the weights are damaged: download the model again"
    assert [path.name for path in tmp_path.iterdir()] == ["nan"]
