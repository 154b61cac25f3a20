"""Tiny models of every backbone, and what the published code computed with them."""

import json
import shutil
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import golden
from vlm2vec_cli import checkpoints
from vlm2vec_cli.backbones import Backbone, Encoded

ROOT = Path(__file__).parents[1] / "golden" / "backbones"


@dataclass(frozen=True)
class Family:
    """The golden files of one backbone. A variant is written behind `@` in an id: a preset, or crops."""

    name: str
    model: Path
    defaults: tuple[tuple[str, Any], ...] = ()  # limits
    prompt_family: str | None = None

    @property
    def root(self) -> Path:
        return ROOT / self.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.root / "golden.json").read_bytes())

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.root / "golden.npz") as stored:
            return dict(stored)

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.facts["inputs"]}

    @property
    def ids(self) -> list[str]:
        return list(self.inputs)

    def content(self, name: str) -> dict[str, Any]:
        """The row of an input, as a user would write it, with references from `ROOT`."""
        one = self.inputs[name]
        given = {
            "text": one.get("prompt", one.get("text")),
            "image": self._placed(one.get("image")),
            "video": self._placed(one.get("frames")),
            "instruction": one.get("instruction"),
        }
        return {field: value for field, value in given.items() if value is not None}

    def _placed(self, refs: str | list[str] | None) -> Any:
        if not refs:
            return None
        if isinstance(refs, list):
            return [self._placed(ref) for ref in refs]
        return refs[3:] if refs.startswith("../") else f"{self.name}/{refs}"

    def expected_ids(self, name: str) -> list[int]:
        return [number for number, times in self.inputs[name]["input_ids_rle"] for _ in range(times)]

    def config(self, name: str) -> dict[str, Any]:
        """What --model-config has to say for an input."""
        one = self.inputs[name]
        limits = dict(self.defaults)
        if one.get("resolution_preset"):
            limits["resize"] = one["resolution_preset"]
        if one.get("num_crops"):
            limits["num_crops"] = one["num_crops"]
        family = {"prompt_family": self.prompt_family} if self.prompt_family else {}
        return {**family, **({"limits": limits} if limits else {})}

    def fresh(self, model: Path | None = None) -> Backbone:
        """A model of one's own, to be changed."""
        found = checkpoints.find(str(model or self.model))
        if self.prompt_family:
            found = replace(found, meta={**found.meta, "prompt_family": self.prompt_family})
        return checkpoints.load(found, found.limits(**dict(self.defaults)), dtype=torch.float32, device="cpu")

    @cached_property
    def backbone(self) -> Backbone:
        return self.fresh()

    def encoded(self, name: str, backbone: Backbone | None = None) -> Encoded:
        """An input, under its own limits."""
        one: Any = backbone or self.backbone
        kept = one.limits
        one.limits = replace(kept, **self.config(name).get("limits", {}))
        try:
            return one.encode(self.content(name), ROOT, golden.media())
        finally:
            one.limits = kept

    def states(self, names: list[str], backbone: Backbone | None = None) -> torch.Tensor:
        with torch.inference_mode():
            return (backbone or self.backbone).forward([self.encoded(name, backbone) for name in names])

    def vectors(self, names: list[str], backbone: Backbone | None = None) -> np.ndarray:
        return torch.nn.functional.normalize(self.states(names, backbone), dim=-1).numpy()


LLAVA_NEXT = Family("llava_next", ROOT / "llava_next" / "tiny")
PHI3_V = Family("phi3_v", ROOT / "phi3_v" / "tiny")
QWEN2_5_VL = Family("qwen2_5_vl", ROOT / "qwen2_5_vl" / "tiny")
GME = Family("gme", golden.MODEL, prompt_family="gme")
ALL = (LLAVA_NEXT, PHI3_V, QWEN2_5_VL, GME)


@cache
def qwen3_vl(folder: Path) -> Any:
    """A random Qwen3-VL of small sizes, saved in `folder` beside the tokenizer of the tiny Qwen2-VL."""
    config = transformers.Qwen3VLConfig(
        text_config={
            "vocab_size": 1024, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2],
                                "mrope_interleaved": True},
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 4, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1, 2], "num_position_embeddings": 64, "patch_size": 16,
        },
        image_token_id=1012, video_token_id=1013, vision_start_token_id=1009, vision_end_token_id=1010,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(5)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.Qwen3VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that what is seen and where it stands matter
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden.MODEL / name, folder)
    return model
