"""`embed` with every backbone: the reference's vectors, layouts of published repositories, bad folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import golden
from backbones import ALL, GME, LLAVA_NEXT, PHI3_V, QWEN2_5_VL, ROOT, Family, qwen3_vl
from runner import Done
from vlm2vec_cli.backbones import LORA_TARGETS
from warm import Warm

TOLERANCE = 2e-5
TEXTS = ["t1_query", "t3_non_ascii"]


def embed(warm: Warm, rows: list[dict[str, Any]], *args: str | Path, root: Path = ROOT) -> Done:
    stdin = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    fixed = ("--dtype", "float32", "--device", "cpu", "--format", "jsonl", "--media-root", root)
    return warm("embed", *fixed, *args, stdin=stdin)


def tensors(model: Path) -> dict[str, torch.Tensor]:
    """All weights of a folder, which has none afterwards."""
    state: dict[str, torch.Tensor] = {}
    for path in sorted(model.glob("model*")):
        if path.suffix == ".safetensors":
            state.update(load_file(path))
        path.unlink()
    return state


def rows(family: Family, names: list[str]) -> list[dict[str, Any]]:
    return [{"id": name, **family.content(name)} for name in names]


def distance(done: Done, family: Family, kind: str = "emb") -> float:
    assert done.exit_code == 0
    return max(
        np.abs(np.array(row["embedding"]) - family.arrays[f"{kind}/{row['id']}"]).max() for row in done.rows
    )


def config(warm: Warm, family: Family, name: str) -> tuple[str | Path, ...]:
    """--model-config for an input, where it needs one."""
    facts = family.config(name)
    return ("--model-config", warm.write("config.json", json.dumps(facts))) if facts else ()


def refused(done: Done, code: int = 69) -> list[str]:
    assert (done.exit_code, done.stdout) == (code, b"")
    return done.stderr.decode().splitlines()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "family",
    [pytest.param(one, marks=SLOW if one is LLAVA_NEXT else (), id=one.name) for one in ALL],
)
def test_a_mixed_run_gives_the_references_vectors(family: Family, warm: Warm) -> None:
    groups: dict[str, list[str]] = {}
    for name in family.ids:
        if name == "i1_question@high":  # as large as the other of its kind
            continue
        groups.setdefault(json.dumps(family.config(name)), []).append(name)
    for names in groups.values():
        done = embed(warm, rows(family, names), "-m", family.model, *config(warm, family, names[0]))
        assert distance(done, family) <= TOLERANCE


# ------------------------------------------------------------------- layouts of published repositories


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Path, str], Path]:
    """A copy of a model under the name of a repository."""

    def copy(source: Path, name: str) -> Path:
        return Path(shutil.copytree(source, tmp_path / name))

    return copy


def test_a_folder_named_like_a_repository_is_known_for_what_it_is(warm: Warm, folder: Any) -> None:
    model = folder(GME.model, "gme-Qwen2-VL-2B-Instruct")
    assert distance(embed(warm, rows(GME, GME.ids), "-m", model), GME) <= TOLERANCE
    high = "i5_tiny@high"
    model = folder(LLAVA_NEXT.model, "VLM2Vec-LLaVa-Next")
    assert distance(embed(warm, rows(LLAVA_NEXT, [high]), "-m", model), LLAVA_NEXT) <= TOLERANCE
    model = folder(PHI3_V.model, "VLM2Vec-Full")
    names = ["t1_query", "i4_wide@crops4", "i7_token_last@crops4"]
    assert distance(embed(warm, rows(PHI3_V, names), "-m", model), PHI3_V) <= TOLERANCE


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


# ------------------------------------------------------------------- merging


@pytest.mark.parametrize("family", ["phi3_v", "qwen2_vl"])
def test_merged_weights_are_the_adapter_on_its_base(family: str, warm: Warm) -> None:
    model, adapter = (
        (PHI3_V.model, PHI3_V.root / "adapter") if family == "phi3_v" else (golden.MODEL, golden.ADAPTER)
    )
    done = warm("embed", "-m", model, "--adapter", adapter, "--merge-to", "merged")
    assert (done.exit_code, done.stdout) == (0, b"")
    merged = warm.work / "merged"
    if family == "phi3_v":
        kept = embed(warm, rows(PHI3_V, TEXTS), "-m", merged)
        assert distance(kept, PHI3_V, "emb_adapter_merged_crops4") <= TOLERANCE
    else:
        name = "t03_plain_candidate"
        kept = embed(warm, [golden.content(name)], "-m", merged)
        expected = golden.arrays()["emb_single_adapter_merged"][golden.facts()["ids"].index(name)]
        assert np.abs(np.array(kept.rows[0]["embedding"]) - expected).max() <= TOLERANCE
        assert np.abs(_plain_transformers(merged, golden.content(name)["text"]) - expected).max() <= TOLERANCE
    twice = refused(embed(warm, [{"text": "a"}], "-m", merged, "--adapter", adapter), 2)
    assert twice == [
        f"vlm2vec: error: --adapter {adapter}: {merged} already holds this adapter",
        "hint: leave --adapter out",
    ]
    again = refused(warm("embed", "-m", model, "--merge-to", "merged"), 2)
    assert again == ["vlm2vec: error: --merge-to merged: not an empty folder"]


def _plain_transformers(folder: Path, text: str) -> np.ndarray:
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        state = model.model(input_ids=ids).last_hidden_state[0, -1]
    return torch.nn.functional.normalize(state, dim=-1).numpy()


# ------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "family", [pytest.param("qwen2_5_vl", marks=SLOW), "qwen3_vl", pytest.param("phi3_v", marks=SLOW)]
)
def test_an_adapter_trained_on_a_backbone_is_embedded_with(family: str, warm: Warm) -> None:
    model = QWEN2_5_VL.model if family == "qwen2_5_vl" else PHI3_V.model
    if family == "qwen3_vl":
        qwen3_vl(model := warm.work / "model")
    pairs = [{"query": {"text": f"what is {n}"}, "positive": {"text": f"the answer {n}"}} for n in range(4)]
    pairs[0]["query"]["image"] = "images/tiny_20x16.png"
    stdin = b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs)
    done = warm(
        "train", "-m", model, "--lora", "--lora-r", "2", "--batch-size", "4", "--max-steps", "2",
        "--warmup-steps", "1", "--learning-rate", "0.01", "--precision", "fp32", "--device", "cpu",
        "--media-root", ROOT, "-o", "run", stdin=stdin,
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, b"")
    meta = json.loads((warm.work / "run" / "vlm2vec.json").read_bytes())
    families = {"qwen2_5_vl": "vlm2vec-v2", "qwen3_vl": "qwen3-vl", "phi3_v": "vlm2vec-v1"}
    assert (meta["prompt_family"], meta["base_model"]) == (families[family], str(model))
    assert meta["positions"] == ("mrope" if family == "qwen3_vl" else "1d")
    targets = json.loads((warm.work / "run" / "adapter_config.json").read_bytes())["target_modules"]
    assert set(targets) == set(LORA_TARGETS[family])
    row = {"text": "what is 1"}
    trained, base = (embed(warm, [row], "-m", name).rows[0]["embedding"] for name in ("run", model))
    assert np.abs(np.subtract(trained, base)).max() > 1e-3


def test_what_only_some_towers_can_is_refused_by_name(warm: Warm) -> None:
    stdin = b'{"query": {"text": "a"}, "positive": {"text": "b"}}\n'
    wide = warm.work / "model"
    qwen3_vl(wide)
    fixed = ("--dry-run", "--device", "cpu")
    for model, kind in ((PHI3_V.model, "phi3_v"), (wide, "qwen3_vl")):
        done = warm("train", "-m", model, "--augment", "light", *fixed, stdin=stdin)
        assert refused(done, 2)[0] == (
            f"vlm2vec: error: --augment light: not for {kind}, which does not see pictures in patches of 14"
            " pixels"
        )
    done = warm("train", "-m", PHI3_V.model, "--vision", "merger", *fixed, stdin=stdin)
    assert refused(done, 2)[0].startswith("vlm2vec: error: --vision merger: not for phi3_v")


def test_a_check_needs_a_stock_forward_pass_to_compare_with(warm: Warm) -> None:
    done = embed(warm, rows(QWEN2_5_VL, TEXTS), "-m", QWEN2_5_VL.model, "--check", "1")
    assert refused(done, 2)[0].startswith("vlm2vec: error: --check: this model family has no stock forward")


# ------------------------------------------------------------------- what is refused


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
        ({"limits": {"crops": 4}}, 69, "{model}: unknown limit 'crops'"),
        ({"limits": {"resize": "huge"}}, 69, "{model}: unknown resize 'huge'"),
    ],
)
def test_a_wrong_model_config_is_refused(facts: dict[str, Any], code: int, message: str, warm: Warm) -> None:
    path = warm.write("own.json", json.dumps(facts))
    lines = refused(embed(warm, [{"text": "a"}], "-m", QWEN2_5_VL.model, "--model-config", path), code)
    assert lines[0] == "vlm2vec: error: " + message.format(path=path, model=QWEN2_5_VL.model)
