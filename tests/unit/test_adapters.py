"""Adapters of every library version load, or say why not; fresh ones have the published sizes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import golden
from backbones import qwen3_vl
from vlm2vec_cli import adapters
from vlm2vec_cli.adapters import inner_key, outer_key
from vlm2vec_cli.errors import UsageError

Q = "self_attn.q_proj"


@pytest.mark.parametrize(
    ("stored", "inner"),
    [
        (f"base_model.model.model.layers.3.{Q}.lora_A.weight", f"language_model.layers.3.{Q}.lora_A.weight"),
        (
            f"base_model.model.model.language_model.layers.3.{Q}.lora_A.weight",
            f"language_model.layers.3.{Q}.lora_A.weight",
        ),
        (
            f"base_model.model.model.layers.0.{Q}.lora_magnitude_vector.weight",
            f"language_model.layers.0.{Q}.lora_magnitude_vector",
        ),
        (
            "base_model.model.visual.blocks.0.attn.qkv.lora_B.weight",
            "visual.blocks.0.attn.qkv.lora_B.weight",
        ),
        (
            "base_model.model.model.visual.blocks.0.attn.qkv.lora_B.weight",
            "visual.blocks.0.attn.qkv.lora_B.weight",
        ),
    ],
)
def test_keys_of_all_layouts_become_ours(stored: str, inner: str) -> None:
    assert inner_key(stored) == f"base_model.model.{inner}"
    assert inner_key(inner_key(stored)) == inner_key(stored)
    assert inner_key(outer_key(inner_key(stored))) == inner_key(stored)


def test_a_copy_in_another_format_and_layout_is_the_same_adapter(tmp_path: Path) -> None:
    state = load_file(golden.ADAPTER / "adapter_model.safetensors")
    renamed = {
        name.replace("model.model.layers", "model.model.language_model.layers"): state[name] for name in state
    }
    torch.save(renamed, tmp_path / "adapter_model.bin")
    assert adapters.digest(tmp_path) == adapters.digest(golden.ADAPTER)
    name = next(iter(renamed))
    torch.save({**renamed, name: renamed[name] + 1}, tmp_path / "adapter_model.bin")
    assert adapters.digest(tmp_path) != adapters.digest(golden.ADAPTER)
    torch.save({name: tensor.bfloat16() for name, tensor in renamed.items()}, tmp_path / "adapter_model.bin")
    assert adapters.digest(tmp_path) not in (None, adapters.digest(golden.ADAPTER))


def test_targets_that_the_model_has_not_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--lora-targets: .*nowhere"):
        adapters.create(
            golden.fresh().model, r=2, alpha=4, dropout=0.0, targets=["nowhere"], dora=False, seed=0
        )


def test_a_new_adapter_changes_nothing_and_depends_on_its_seed() -> None:
    def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        backbone = golden.fresh()
        made = adapters.create(
            backbone.model, r=2, alpha=4, dropout=0.0, targets=["q_proj"], dora=True, seed=seed
        )
        backbone.model.eval()
        with torch.inference_mode():
            state = backbone.forward([golden.encoded("t03_plain_candidate")])
        return state, next(value for name, value in made.named_parameters() if "lora_A" in name).detach()

    with torch.inference_mode():
        plain = golden.backbone().forward([golden.encoded("t03_plain_candidate")])
    (state, first), (_, again), (_, other) = drawn(1), drawn(1), drawn(2)
    assert torch.allclose(state, plain, atol=1e-5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_attached_for_training_only_the_adapter_has_gradients() -> None:
    wrapped = adapters.attach(golden.fresh().model, golden.ADAPTER, trainable=True)
    trained = {name for name, value in wrapped.named_parameters() if value.requires_grad}
    assert len(trained) == golden.facts()["adapter"]["keys"]
    assert all("lora_" in name for name in trained)
    numbers = sum(value.numel() for value in wrapped.parameters() if value.requires_grad)
    assert numbers == golden.facts()["train_b"]["adapter"]["n_trainable"]


@pytest.mark.parametrize(
    ("size", "targets", "r", "number"),
    [
        ("2B", "vlm2vec-v2", 16, 9_203_712),
        ("2B", "vlm2vec-v2.1", 16, 19_109_888),
        ("2B", "vlm2vec-v2", 8, 4_673_536),
        ("7B", "vlm2vec-v2", 8, 10_422_272),
    ],
)
def test_parameter_counts_are_the_published_ones(size: str, targets: str, r: int, number: int) -> None:
    made = adapters.create(
        on_no_device(size), r=r, alpha=64, dropout=0.1, targets=[targets], dora=True, seed=0
    )
    assert sum(one.numel() for one in made.parameters() if one.requires_grad) == number


def on_no_device(size: str) -> torch.nn.Module:
    """Qwen2-VL's published architecture without numbers."""
    from transformers import Qwen2VLConfig, Qwen2VLModel

    text = {
        "2B": {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12},
        "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28},
    }[size]
    heads = {"2B": 2, "7B": 4}[size]
    config = Qwen2VLConfig(
        text_config={**text, "num_hidden_layers": 28, "num_key_value_heads": heads, "vocab_size": 8},
        vision_config={"depth": 2, "hidden_size": text["hidden_size"]},
    )
    with torch.device("meta"):
        return Qwen2VLModel(config)


def test_the_mergers_of_qwen3_are_all_trained(tmp_path: Path) -> None:
    model = qwen3_vl(tmp_path).model
    made = adapters.create(
        model, r=2, alpha=4, dropout=0.0, targets=["q_proj"], dora=False, seed=0, vision="merger"
    )
    trained = {name for name, one in made.named_parameters() if one.requires_grad and "lora_" not in name}
    inner = {
        name.partition(".visual.")[2].partition(".modules_to_save")[0]
        for name in trained
        if ".visual." in name
    }
    assert inner == {"merger", *(f"deepstack_merger_list.{number}" for number in range(3))}
    assert len(trained) == 4 * 6


@pytest.mark.parametrize(("vision", "part"), [("merger", "visual.merger."), ("trained", "visual.")])
def test_vision_is_trained_as_a_part_of_the_adapter(tmp_path: Path, vision: str, part: str) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    backbone = golden.fresh()
    made = adapters.create(
        backbone.model, r=2, alpha=4, dropout=0.0, targets=["q_proj"], dora=False, seed=0, vision=vision
    )
    trained = [name for name, one in made.named_parameters() if one.requires_grad and "lora_" not in name]
    whole = [name for name, _ in golden.backbone().model.named_parameters() if name.startswith(part)]
    assert len(trained) == len(whole)
    assert all(".modules_to_save." in name for name in trained)
    with torch.no_grad():
        for name, one in made.named_parameters():
            if name in trained:
                one += 0.01
    encoded = golden.encoded("i04_tiny_10x12")
    with torch.inference_mode():
        expected = backbone.forward([encoded])
    made.peft_config["default"].save_pretrained(str(tmp_path))
    state = {adapters.outer_key(name): one for name, one in get_peft_model_state_dict(made).items()}
    save_file(state, tmp_path / "adapter_model.safetensors")
    again = golden.fresh()
    again.model = adapters.attach(again.model, tmp_path).merge_and_unload()
    with torch.inference_mode():
        assert torch.allclose(again.forward([encoded]), expected, atol=1e-5)
        assert not torch.allclose(golden.backbone().forward([encoded]), expected, atol=1e-3)
