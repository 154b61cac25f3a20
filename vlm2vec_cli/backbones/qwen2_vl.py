"""Qwen2-VL as an embedder, on stock transformers, numerically equal to VLM2Vec-V2.

No chat template, no vision start or end markers, plain 1-D positions on all three rotary axes, the state of
the last token after the final norm. Source: the published VLM2Vec code (src/model,
src/model/vlm_backbone/qwen2_vl).
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration
from transformers.utils import logging

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.backbones._visuals import Visuals
from vlm2vec_cli.engine import attention, packing, pixels, prompts
from vlm2vec_cli.engine.seeing import Seeing
from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("qwen2_vl",)
PROMPT_FAMILY = "vlm2vec-v2"
NUM_FRAMES = 8


class Qwen2VL:
    """See `vlm2vec_cli.backbones.Backbone`."""

    def __init__(self, wrapper: Qwen2VLForConditionalGeneration, tokenizer: Any, limits: Limits) -> None:
        self.wrapper = wrapper
        self.model = wrapper.model
        self.tokenizer = tokenizer
        self.limits = limits
        self.model.visual.patch_embed = _PatchEmbed(self.model.visual.patch_embed.proj)
        self.dim = int(wrapper.config.text_config.hidden_size)
        self._image_id = int(wrapper.config.image_token_id)
        self._video_id = int(wrapper.config.video_token_id)
        self._visuals = Visuals(
            partial(pixels.picture, min_pixels=limits.min_pixels, max_pixels=limits.max_pixels),
            partial(pixels.clip, min_pixels=limits.min_pixels, max_pixels=limits.max_pixels),
        )
        self._see = Seeing(self._look)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        for part in _configs(wrapper.config):
            part._attn_implementation = attention.NAME

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        num_frames = int(content.get("num_frames") or self.limits.num_frames)
        images = self._visuals.images(content, root, media)
        clips = self._visuals.clips(content, root, media, num_frames)
        return self._expand(prompts.prompt(content), images, clips)

    def _expand(self, prompt: str, images: list[pixels.Visual], clips: list[pixels.Visual]) -> Encoded:
        ids = np.asarray(self.tokenizer(prompt)["input_ids"], dtype=np.int64)
        if not images and not clips:
            # A visual token in a text without visuals stays one ordinary token.
            ids = ids[: self.limits.max_length] if len(ids) else np.array([self._pad_id])
            return Encoded(ids, (), np.empty(0, dtype=np.int64))
        queues = {self._image_id: iter(images), self._video_id: iter(clips)}
        counts = np.ones(len(ids), dtype=np.int64)
        ordered: list[pixels.Visual] = []
        for place in np.flatnonzero((ids == self._image_id) | (ids == self._video_id)):
            visual = next(queues[int(ids[place])], None)
            if visual is None:
                raise DataError("text has more visual tokens than visuals")
            counts[place] = visual.num_tokens
            ordered.append(visual)
        if len(ordered) != len(images) + len(clips):
            raise DataError("text has fewer visual tokens than visuals")
        ids = np.repeat(ids, counts)
        return Encoded(ids, tuple(ordered), np.flatnonzero((ids == self._image_id) | (ids == self._video_id)))

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """(B, D) states of the last tokens after the final norm, not normalised, in the model's dtype."""
        device, decoder = self.model.device, self.model.language_model
        packed = packing.pack(batch)
        states_TD = decoder.embed_tokens(torch.from_numpy(packed.ids).to(device))
        if packed.visuals:
            features_VD = self._see(packed.visuals, device).to(states_TD.dtype)
            states_TD = states_TD.index_copy(0, torch.from_numpy(packed.slots).to(device), features_VD)
        position_T = torch.from_numpy(packed.positions).to(device)
        last_B = torch.from_numpy(packed.last).to(device)
        with packing.reading_only(last_B, decoder.layers[-1].mlp):
            out = decoder(
                inputs_embeds=states_TD.unsqueeze(0),
                position_ids=position_T.expand(3, 1, -1),
                # A ready mask per layer type keeps transformers from building one: segments are the
                # attention's business.
                attention_mask=dict.fromkeys(("full_attention", "sliding_attention")),
                use_cache=False,
                **packed.attention,
            ).last_hidden_state[0]
        pooled_BD: Tensor = out[last_B]
        return pooled_BD

    def stock(self, one: Encoded, *, left: int = 0, right: int = 0) -> Tensor:
        """See `vlm2vec_cli.backbones.Stock`; only the positions are still our own."""
        device = self.model.device
        ids = torch.from_numpy(np.pad(one.ids, (left, right), constant_values=self._pad_id))[None].to(device)
        mask = torch.zeros_like(ids)
        mask[:, left : left + one.num_tokens] = 1
        given: dict[str, Tensor] = {}
        begins = np.cumsum([0, *(visual.num_tokens for visual in one.visuals)])
        for token, pixel_name, grid_name in (
            (self._image_id, "pixel_values", "image_grid_thw"),
            (self._video_id, "pixel_values_videos", "video_grid_thw"),
        ):
            visuals = [
                visual
                for visual, begin in zip(one.visuals, begins, strict=False)
                if one.ids[one.slots[begin]] == token
            ]
            if visuals:
                patches = torch.from_numpy(np.concatenate([visual.patches for visual in visuals]))
                given[pixel_name] = normalised(patches.to(device))
                given[grid_name] = torch.tensor([visual.grid for visual in visuals], device=device)
        positions = (mask.cumsum(1) - 1).clamp_min(0).expand(3, -1, -1)
        with _attention_of_transformers(self.wrapper.config):
            states = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, **given
            ).last_hidden_state
        pooled: Tensor = states[0, left + one.num_tokens - 1]
        return pooled

    def seeing_once(self) -> AbstractContextManager[None]:
        """See `vlm2vec_cli.engine.seeing`."""
        return self._see.once(self.model.visual)

    def _look(self, visuals: Sequence[pixels.Visual]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower."""
        tower = self.model.visual
        patches = torch.from_numpy(np.concatenate([visual.patches for visual in visuals]))
        grid = torch.tensor([visual.grid for visual in visuals], device=tower.device)
        segments = tuple(visual.grid[1] * visual.grid[2] for visual in visuals for _ in range(visual.grid[0]))
        features: Tensor = tower(
            normalised(patches.to(tower.device)).to(tower.dtype), grid_thw=grid, segment_lengths=segments
        ).pooler_output
        return features

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in Qwen2-VL's published layout."""
        logging.disable_progress_bar()
        state = {name: tensor.to(dtype or tensor.dtype) for name, tensor in self.wrapper.state_dict().items()}
        self.wrapper.save_pretrained(folder, state_dict=state)
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """Tokenizer and preprocessor files."""
        self.tokenizer.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(
            json.dumps(preprocessor(self.limits), indent=2) + "\n"
        )


class _PatchEmbed(nn.Module):
    """The tower's patch embedding as the matrix product it is: a convolution that never overlaps.

    The same weights under the same name; many times faster than a 3-D convolution over single patches.
    """

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, patches: Tensor) -> Tensor:
        """(N, 3*2*14*14) -> (N, width)."""
        weight: Any = self.proj.weight
        return functional.linear(patches.to(weight.dtype), weight.flatten(1))


def _configs(config: Any) -> tuple[Any, ...]:
    return config, config.text_config, config.vision_config


@contextlib.contextmanager
def _attention_of_transformers(config: Any) -> Iterator[None]:
    for part in _configs(config):
        part._attn_implementation = "sdpa"
    try:
        yield
    finally:
        for part in _configs(config):
            part._attn_implementation = attention.NAME


def preprocessor(limits: Limits) -> dict[str, Any]:
    """The content of preprocessor_config.json for these limits."""
    return {
        "min_pixels": limits.min_pixels,
        "max_pixels": limits.max_pixels,
        "patch_size": pixels.PATCH,
        "temporal_patch_size": pixels.TEMPORAL,
        "merge_size": pixels.MERGE,
        "image_mean": list(pixels.MEAN),
        "image_std": list(pixels.STD),
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    }


def load(
    weights: Path, tokenizer: Path, limits: Limits, *, dtype: torch.dtype, device: torch.device | str
) -> Qwen2VL:
    """Loads full weights from a folder, strictly: a missing, foreign or misshapen tensor is an
    UnavailableError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with _without_adapter(weights) as plain:
            wrapper, info = Qwen2VLForConditionalGeneration.from_pretrained(
                plain, dtype=dtype, output_loading_info=True, local_files_only=True
            )
        tokens = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    except Exception as error:  # each library has types of its own for a damaged or missing file
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnavailableError(f"cannot be loaded: {first}", place=str(weights)) from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, info[what])):
            shown = ", ".join(names[:3])
            raise UnavailableError(
                f"{what.replace('_', ' ')} in the weights: {shown} ({len(names)} in all)",
                place=str(weights),
                hint="the files do not belong to this config.json, or a shard is missing",
            )
    return Qwen2VL(wrapper.to(device).eval(), tokens, limits)


@contextlib.contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """`folder`, or a folder of links to its files without those of a spare adapter: transformers would put it
    on top of weights that already hold it."""
    if not (folder / "adapter_config.json").is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as links:
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("adapter_"):
                Path(links, path.name).symlink_to(path.resolve())
        yield Path(links)


def normalised(patches: Tensor) -> Tensor:
    """8-bit patches (N, 3*2*14*14) to CLIP-normalised float32."""
    per_channel = pixels.TEMPORAL * pixels.PATCH * pixels.PATCH
    mean = torch.tensor(pixels.MEAN, device=patches.device).repeat_interleave(per_channel)
    std = torch.tensor(pixels.STD, device=patches.device).repeat_interleave(per_channel)
    return torch.addcmul(-mean / std, patches.float(), 1 / (255 * std))
