"""Phi-3.5-V as an embedder, built from transformers' Phi3 and CLIP, numerically equal to VLM2Vec V1.

The released files bring modelling code of their own; none of it is needed or run. A picture is tiled by the
HD transform, tiles and a small view of the whole pass CLIP, 2 x 2 neighbours are merged, and separators are
learned. Inputs longer than the original context use the long rotary factors; each row does by its own length,
so that it is what it is alone. Long, since no stock class joins the parts and a backbone is one file.
Source: microsoft/Phi-3.5-vision-instruct; the published VLM2Vec V1 code.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.backbones._packed import Packed
from vlm2vec_cli.backbones._stock import assign, load_tokenizer
from vlm2vec_cli.engine import pixels, prompts, tiles
from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("phi3_v",)
PROMPT_FAMILIES = ("vlm2vec-v1",)

_SIDE = 336
_LAYER = -2  # of the tower's hidden states, the one that is used
_MERGED = 12  # rows and columns of a tile's features after 2 x 2 neighbours are merged
_TAG = re.compile(r"<\|image_(\d+)\|>")
# The released config.json names the tower and leaves its sizes out.
_CLIP_L_336 = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": _SIDE, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    "projection_dim": 768,
}  # fmt: skip
_TEXT_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "rms_norm_eps", "max_position_embeddings", "initializer_range",
    "original_max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
# Tensor names of the files and of the modules below.
_NAMES = (
    ("model.vision_embed_tokens.img_processor.vision_model.", "vision_tower."),
    ("model.vision_embed_tokens.wte.", "language_model.embed_tokens."),
    ("model.vision_embed_tokens.", ""),
    ("model.", "language_model."),
)
# Tables that older libraries stored and newer ones compute.
_COMPUTED = ("embeddings.position_ids", "rotary_emb.inv_freq")


class _Configs(dict[str, Any]):
    """What asks for sizes finds them as in transformers' models; peft takes a mapping for no such model."""

    @property
    def vision_config(self) -> Any:
        return self["vision"]

    def get_text_config(self) -> Any:
        return self["text"]


class Phi3VModel(nn.Module):
    """The modules of Phi-3.5-V below its language-model head."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        vision = {**_CLIP_L_336, **config["img_processor"].get("clip_config", {})}
        self.config = _Configs(text=_text_config(config), vision=transformers.CLIPVisionConfig(**vision))
        self.language_model = transformers.Phi3Model(self.config["text"])
        self.vision_tower = transformers.CLIPVisionModel(self.config.vision_config)
        merged, width = 4 * vision["hidden_size"], config["hidden_size"]
        self.img_projection = nn.Sequential(nn.Linear(merged, width), nn.GELU(), nn.Linear(width, width))
        self.glb_GN = nn.Parameter(torch.empty(1, 1, merged))
        self.sub_GN = nn.Parameter(torch.empty(1, 1, 1, merged))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.glb_GN.device

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """As a transformers model's."""
        self.language_model.gradient_checkpointing_enable(**options)


class Phi3V(Packed):
    """See `vlm2vec_cli.backbones.Backbone`."""

    def __init__(
        self, model: Phi3VModel, tokenizer: Any, limits: Limits, family: str, config: Mapping[str, Any]
    ) -> None:
        super().__init__(model, "vision_tower", tokenizer, limits, family)
        self._config = config
        self._short = int(config.get("original_max_position_embeddings", config["max_position_embeddings"]))
        self.head: Tensor | None = None  # not needed to embed; saved again with the rest

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        if content.get("video"):
            raise DataError("phi3_v has no video input", hint="give frames as a list in `image`")
        visuals = self._visuals.images(content, root, media, replace(self.limits, resize=None))
        text = _numbered(content, len(visuals))
        if not visuals:
            ids = self._ids(text)[: self.limits.max_length]
            return Encoded(ids, (), np.empty(0, dtype=np.int64))
        # [text, tag, text, tag, ..., text]: every text is tokenised by itself, with its own start token.
        pieces = _TAG.split(text)
        ordered = [visuals[int(tag) - 1] for tag in pieces[1::2]]  # tag k is picture k, in any order
        streams, slots, at = [], [], 0
        for chunk, visual in itertools.zip_longest(pieces[::2], ordered):
            streams.append(self._ids(chunk))
            at += len(streams[-1])
            if visual is not None:
                streams.append(np.zeros(visual.num_tokens, dtype=np.int64))
                slots.append(np.arange(at, at + visual.num_tokens))
                at += visual.num_tokens
        return Encoded(np.concatenate(streams), tuple(ordered), np.concatenate(slots))

    def _ids(self, text: str) -> Any:
        return np.asarray(self.tokenizer(text)["input_ids"], dtype=np.int64)

    def picture(self, image: Image.Image) -> tiles.Tiles:
        """An RGB picture as the tiles of the HD transform, at most `num_crops`."""
        canvas = tiles.hd_transform(image, self.limits.num_crops, _SIDE)
        found = tiles.cut(canvas, _SIDE)
        rows, columns = canvas.shape[0] // _SIDE, canvas.shape[1] // _SIDE
        return tiles.Tiles(
            found,
            (1, rows, columns),
            tiles.key(found, rows, columns),
            tokens=(rows * columns + 1) * _MERGED**2 + 1 + (rows + 1) * _MERGED,
            seen=(len(found) + 1) * (2 * _MERGED) ** 2,
            size=(image.height, image.width),
        )

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        # The longest position of a pass chooses its rotary factors: long rows have a pass of their own.
        long = [one.num_tokens > self._short for one in batch]
        if all(long) or not any(long):
            return super().forward(batch)
        rows = {
            kind: iter(Packed.forward(self, list(itertools.compress(batch, (one is kind for one in long)))))
            for kind in (False, True)
        }
        return torch.stack([next(rows[kind]) for kind in long])

    def look(self, visuals: Sequence[tiles.Tiles]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower."""
        given = [self._tiles(one) for one in visuals]
        return self._features(visuals, tiles.features(self.tower, given, _LAYER))

    def _tiles(self, one: tiles.Tiles) -> Tensor:
        """(1 + tiles, side, side, 3) normalised: all of the picture, then its tiles."""
        local = tiles.normalised(torch.from_numpy(one.patches).to(self.model.device))
        whole = tiles.join(local, one.grid).permute(2, 0, 1).unsqueeze(0)
        small = functional.interpolate(whole, size=(_SIDE, _SIDE), mode="bicubic")
        return torch.cat([small.permute(0, 2, 3, 1), local])

    def _features(self, visuals: Sequence[tiles.Tiles], states: Sequence[Tensor]) -> Tensor:
        """(sum of visual tokens, D) of the tower's states (1 + tiles, 24, 24, C) of each visual."""
        parts = []
        for one, seen in zip(visuals, states, strict=True):
            merged = _merged(seen)
            local = tiles.join(merged[1:], one.grid)
            parts += [self._lines(local), self.model.glb_GN[0], self._lines(merged[0])]
        features: Tensor = self.model.img_projection(torch.cat(parts))
        return features

    def stock_states(self, one: Encoded, given: dict[str, Tensor], slots: Tensor) -> Tensor:
        """See `Packed.stock_states`: transformers' CLIP and Phi3; what joins them is our own."""
        embeddings = self.model.language_model.embed_tokens(given.pop("input_ids"))
        visuals: Any = one.visuals
        if visuals:
            seen = []
            for visual in visuals:
                tower = self.tower(self._tiles(visual).permute(0, 3, 1, 2), output_hidden_states=True)
                seen.append(tower.hidden_states[_LAYER][:, 1:].unflatten(1, (2 * _MERGED, -1)))
            features = self._features(visuals, seen).to(embeddings.dtype)
            embeddings = embeddings.index_copy(1, slots, features[None])
        out = self.model.language_model(inputs_embeds=embeddings, use_cache=False, **given)
        states: Tensor = out.last_hidden_state
        return states

    def _lines(self, states: Tensor) -> Tensor:
        """(rows, columns, C) -> (rows * (columns + 1), C), a separator behind each row."""
        ends = self.model.sub_GN[0].expand(states.shape[0], 1, -1)
        return torch.cat([states, ends], dim=1).flatten(0, 1)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's published layout."""
        from huggingface_hub import save_torch_state_dict

        folder.mkdir(parents=True, exist_ok=True)
        state = {_outer(name): tensor for name, tensor in self.model.state_dict().items()}
        if self.head is not None:
            state["lm_head.weight"] = self.head
        state = {name: tensor.detach().cpu().to(dtype or tensor.dtype) for name, tensor in state.items()}
        save_torch_state_dict(state, folder, metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(dict(self._config), indent=2) + "\n")
        self.save_processor(folder)

    def processor_files(self) -> dict[str, dict[str, Any]]:
        """What transformers' processor reads, by file name."""
        fields = {
            "num_crops": self.limits.num_crops,
            "num_img_tokens": _MERGED**2,
            "image_mean": list(pixels.MEAN),
            "image_std": list(pixels.STD),
            "image_processor_type": "Phi3VImageProcessor",
            "processor_class": "Phi3VProcessor",
        }
        return {"preprocessor_config.json": fields}


def _numbered(content: Mapping[str, Any], num_images: int) -> str:
    """The prompt with `<|image_1|>`, `<|image_2|>`, ... for its pictures; without any it is ordinary text."""
    text = prompts.prompt({**content, "image": None}, image_token=prompts.IMAGE)
    tags = itertools.count(1)
    text = re.sub(prompts.IMAGE, lambda _: f"<|image_{next(tags)}|>", text)
    if not num_images:
        return text
    found = [int(tag) for tag in _TAG.findall(text)]
    if not found:
        front = "".join(f"<|image_{number}|>" for number in range(1, num_images + 1))
        return f"{front} {text}"
    if sorted(found) != list(range(1, num_images + 1)):
        raise DataError(
            f"text has the image tags {found} for {num_images} images",
            hint="write <image> once for each image, or leave it out",
        )
    return text


def _merged(states: Tensor) -> Tensor:
    """(tiles, 24, 24, C) -> (tiles, 12, 12, 4C): 2 x 2 neighbours side by side."""
    count, channels = states.shape[0], states.shape[-1]
    split = states.reshape(count, _MERGED, 2, _MERGED, 2, channels).transpose(2, 3)
    return split.reshape(count, _MERGED, _MERGED, 4 * channels)


def _text_config(config: Mapping[str, Any]) -> Any:
    given = {name: config[name] for name in _TEXT_FIELDS if name in config}
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    if scaling := config.get("rope_scaling"):
        original = config["original_max_position_embeddings"]
        rope |= {
            "rope_type": "longrope",
            "short_factor": scaling["short_factor"],
            "long_factor": scaling["long_factor"],
            "original_max_position_embeddings": original,
            "factor": config["max_position_embeddings"] / original,
        }
    return transformers.Phi3Config(**given, rope_parameters=rope)


def _inner(name: str) -> str:
    return next((ours + name[len(theirs) :] for theirs, ours in _NAMES if name.startswith(theirs)), name)


def _outer(name: str) -> str:
    pairs = (_NAMES[0], _NAMES[3], _NAMES[2])
    return next(theirs + name[len(ours) :] for theirs, ours in pairs if name.startswith(ours))


def load(
    weights: Path,
    tokenizer: Path,
    limits: Limits,
    *,
    family: str,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Phi3V:
    """Loads a folder's full weights; a missing, foreign or misshapen tensor is an UnavailableError."""
    from accelerate import init_empty_weights

    config = json.loads((weights / "config.json").read_bytes())
    try:
        with init_empty_weights():
            model = Phi3VModel(config)
    except KeyError as error:
        raise UnavailableError(f"no field {error}", place=str(weights / "config.json")) from None
    left = assign(model, weights, _inner, _outer, dtype, unused=("lm_head.weight", *_COMPUTED))
    backbone = Phi3V(model.to(device).eval(), load_tokenizer(tokenizer, raw=True), limits, family, config)
    backbone.head = left.get("lm_head.weight")
    return backbone
