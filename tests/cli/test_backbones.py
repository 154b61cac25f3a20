"""`embed` and `train` with every backbone: the reference's vectors, the check, trained adapters."""

import json
import re

import numpy as np
import pytest
import torch

from backbones import ALL, PHI3_V, QWEN2_5_VL, ROOT, Family, qwen3_vl
from embed_run import TOLERANCE, config, distance, embed, refused, rows
from vlm2vec_cli.backbones import LORA_TARGETS
from warm import Warm

SLOW = pytest.mark.slow


def groups(family: Family) -> list[list[str]]:
    """The golden inputs, those together that have one --model-config."""
    found: dict[str, list[str]] = {}
    for name in family.ids:
        found.setdefault(json.dumps(family.config(name)), []).append(name)
    return list(found.values())


@pytest.mark.parametrize(
    "family",
    [pytest.param(one, marks=SLOW if one in ALL[:2] else (), id=one.name) for one in ALL],
)
def test_a_mixed_run_gives_the_references_vectors(family: Family, warm: Warm) -> None:
    for names in groups(family):
        done = embed(warm, rows(family, names), "-m", family.model, *config(warm, family, names[0]))
        assert distance(done, family) <= TOLERANCE


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
    pairs = (
        '{"query": {"text": "a"}, "positive": {"text": "b"}}',
        '{"query": {"text": "c"}, "positive": {"text": "d"}}',
    )
    stdin = "\n".join(pairs).encode()
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


@pytest.mark.parametrize(
    "name", [*(pytest.param(one.name, marks=SLOW) for one in ALL[:2]), "qwen2_5_vl", "gme"]
)
def test_a_check_is_against_stock_transformers(name: str, warm: Warm) -> None:
    """Of every golden input, whose vector is the reference's."""
    family = next(one for one in ALL if one.name == name)
    for names in groups(family):
        options = (*config(warm, family, names[0]), "--check", str(len(names)))
        done = embed(warm, rows(family, names), "-m", family.model, *options)
        assert distance(done, family) <= TOLERANCE
        found = re.search(
            rb"check of (\d+) rows: largest deviation (\S+) \(alone .*, stock .*, left .*, right ",
            done.stderr,
        )
        assert found
        assert int(found[1]) == len(done.rows) == len(names)
        assert float(found[2]) <= TOLERANCE


def test_a_check_finds_an_engine_that_is_wrong() -> None:
    """The stock forward is another way, not the same one again."""
    backbone = QWEN2_5_VL.fresh()
    row = QWEN2_5_VL.encoded("i1_question", backbone)
    with torch.inference_mode():
        before = backbone.stock(row)
        # The Protocol has no such method: that the engine uses this family's positions is what is tried.
        backbone.positions = lambda one: np.zeros((3, one.num_tokens), dtype=np.int64)  # type: ignore[attr-defined]
        assert torch.equal(backbone.stock(row), before)
        assert not torch.allclose(backbone.forward([row])[0], before, atol=1e-3)
