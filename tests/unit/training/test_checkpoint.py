"""Folders are written whole or not at all; a run goes on only with its own data and options."""

import contextlib
import json
import warnings
from pathlib import Path

import pytest
import torch

import golden
from pairs import lora
from vlm2vec_cli import checkpoints, generators
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError
from vlm2vec_cli.training import checkpoint, folders
from vlm2vec_cli.training.options import TrainOptions


def made(out: Path, *steps: int) -> None:
    for step in steps:
        folder = folders.path_of(out, step)
        folder.mkdir(parents=True)
        (folder / folders.STATE).write_bytes(b"")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert folders.find(tmp_path, "auto") is None
    made(tmp_path, 9, 100, 20)
    (tmp_path / "checkpoint-200").mkdir()  # without its state: not whole
    (tmp_path / "checkpoint-best").mkdir()
    assert folders.find(tmp_path, "auto") == tmp_path / "checkpoint-100"
    assert folders.find(tmp_path, "none") is None
    assert folders.find(tmp_path, str(tmp_path / "checkpoint-9")) == tmp_path / "checkpoint-9"
    with pytest.raises(UsageError, match=r"--resume nowhere: no training_state.pt there"):
        folders.find(tmp_path, "nowhere")


def test_the_oldest_go(tmp_path: Path) -> None:
    made(tmp_path, 1, 2, 10)
    folders.prune(tmp_path, None)
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-10", "checkpoint-2"]
    folders.prune(tmp_path, 2)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-2"]
    folders.prune(tmp_path, 5)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-2"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    with folders.written_whole(folder) as partial:
        (partial / "a").write_text("first")
    with contextlib.suppress(KeyboardInterrupt), folders.written_whole(folder) as partial:
        (partial / "a").write_text("second")
        raise KeyboardInterrupt
    with pytest.raises(UnavailableError, match="cannot be written: No space left") as raised:
        with folders.written_whole(folder):
            raise OSError(28, "No space left on device")
    assert raised.value.hint == "earlier checkpoints are intact"
    assert (folder / "a").read_text() == "first"
    assert names(tmp_path) == ["checkpoint-1"]
    with folders.written_whole(folder) as partial:
        (partial / "b").write_text("third")
    assert names(folder) == ["b"]


@pytest.mark.parametrize("name", ["checkpoint-1", "best"])
def test_a_kill_between_two_names_loses_nothing(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with folders.written_whole(folder) as partial:
        (partial / "a").write_text("first")
    folder.rename(tmp_path / f".{name}.old")
    for word in ("partial", "gone"):
        (tmp_path / f".{name}.{word}").mkdir()
    folders.tidy(tmp_path)
    assert names(tmp_path) == [name]
    assert (folder / "a").read_text() == "first"
    (tmp_path / f".{name}.old").mkdir()
    folders.tidy(tmp_path)
    assert names(tmp_path) == [name], "a folder that is there is the newer one"


def test_later_checkpoints_are_put_aside(tmp_path: Path) -> None:
    made(tmp_path, 5, 50, 5000)
    assert folders.put_aside(tmp_path, 50) == [tmp_path / "checkpoint-5000.old"]
    assert folders.find(tmp_path, "auto") == tmp_path / "checkpoint-50"
    assert folders.put_aside(tmp_path, 50) == []
    made(tmp_path, 5000)
    folders.put_aside(tmp_path, 0)
    assert names(tmp_path) == ["checkpoint-5.old", "checkpoint-50.old", "checkpoint-5000.old"]


def test_a_published_folder_holds_one_model(tmp_path: Path) -> None:
    """Full weights of an earlier run would win over the adapter of this one."""
    out, source = tmp_path / "out", tmp_path / "out" / "final"
    source.mkdir(parents=True)
    for name in ("model.safetensors", "model-00001-of-00002.safetensors", "notes.txt", checkpoints.META):
        (out / name).write_text("old")
    for name in ("adapter_config.json", "adapter_model.safetensors", checkpoints.META):
        (source / name).write_text("new")
    folders.publish(source, out)
    assert names(out) == ["adapter_config.json", "adapter_model.safetensors", "notes.txt", "vlm2vec.json"]
    assert (out / checkpoints.META).read_text() == "new"


def test_state_goes_back_where_it_came_from(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    options = {"seed": 1, "lora_targets": ("a", "b"), "max_steps": 3}
    torch.manual_seed(5)
    checkpoint.save_state(
        tmp_path, 7, "digest", options, {"layer": layer.state_dict()}, [generators.random_state()]
    )
    expected = torch.rand(3)
    other = torch.nn.Linear(2, 2)
    step = checkpoint.load_state(tmp_path, "digest", {**options, "max_steps": 9}, {"layer": other})
    assert step == 7
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(other.weight, layer.weight)
    with pytest.raises(DataError, match="the training data is not what this run began with") as data:
        checkpoint.load_state(tmp_path, "other", options, {})
    assert data.value.hint == "--resume none starts anew, --allow-changed data goes on"
    changed = {**options, "seed": 2, "lora_targets": ("a",)}
    with pytest.raises(UsageError) as raised:
        checkpoint.load_state(tmp_path, "digest", changed, {})
    assert raised.value.fact == f"options differ from the run in {tmp_path}: lora_targets, seed"


@pytest.mark.parametrize("dora", [False, True])
def test_a_saved_adapter_is_what_stock_peft_reads(tmp_path: Path, dora: bool) -> None:
    from peft import PeftModel
    from transformers import Qwen2VLForConditionalGeneration

    backbone = golden.fresh()
    adapter = lora(backbone, TrainOptions(dora=dora))
    torch.manual_seed(0)
    for name, parameter in adapter.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    checkpoint.save_model(tmp_path / "run", backbone, adapter, str(golden.MODEL), {"step": 3})
    assert set(names(tmp_path / "run")) >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vlm2vec.json",
    }
    meta = json.loads((tmp_path / "run" / "vlm2vec.json").read_text())
    assert (meta["step"], meta["pooling"], meta["dimension"]) == (3, "last", 64)
    stock = Qwen2VLForConditionalGeneration.from_pretrained(golden.MODEL, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries warn of each other
        merged = PeftModel.from_pretrained(stock, tmp_path / "run").merge_and_unload()
    found = checkpoints.find(str(tmp_path / "run"))
    ours = checkpoints.load(found, found.limits(), dtype=torch.float32, device="cpu")
    base = golden.backbone().model.state_dict()
    changed = 0
    for name, tensor in merged.model.state_dict().items():
        assert torch.allclose(ours.model.state_dict()[name], tensor, atol=1e-6), name
        changed += not torch.allclose(base[name], tensor, atol=1e-6)
    assert changed == 28, "seven matrices in each of four layers"
