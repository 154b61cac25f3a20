"""`-m tiny`: a Qwen2-VL of about two million parameters, made from the rows it is going to see.

The architecture is Qwen2-VL's own, small; the weights are random from a seed; the tokenizer is a byte-level
BPE trained on the texts. The result is an ordinary checkpoint folder that everything else loads like any
other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vlm2vec_cli.backbones import Limits, qwen2_vl
from vlm2vec_cli.checkpoints import META

# Pictures up to 112 x 112, 16 tokens: what a laptop can train on.
LIMITS = Limits(min_pixels=3136, max_pixels=12544, num_frames=4)
# Random weights this wide let so small a model learn several times as fast as Qwen2-VL's own 0.02.
_INIT = 0.06
_VOCABULARY = 1536
# Qwen2-VL's special tokens in their order.
_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
# Words, single digits, punctuation and white space apart: the idea of Qwen2's splitting, in fewer rules.
_SPLIT = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"


def create(folder: Path, texts: Iterable[str], seed: int) -> None:
    """Writes the checkpoint; same texts and seed give the same bytes."""
    tokenizer = train_tokenizer(texts)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
    fields = config_fields(len(tokenizer))
    ends = {"bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"]}
    config = Qwen2VLConfig(
        **{**fields, "text_config": {**fields["text_config"], **ends}},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapper = Qwen2VLForConditionalGeneration(config)
    qwen2_vl.Qwen2VL(wrapper, tokenizer, LIMITS).save(folder)
    limits = {
        name: getattr(LIMITS, name) for name in ("min_pixels", "max_pixels", "num_frames", "max_length")
    }
    meta = {"base_model": "tiny", "prompt_family": qwen2_vl.PROMPT_FAMILY, "limits": limits, "seed": seed}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n")


def config_fields(vocabulary: int) -> dict[str, Any]:
    """The small architecture: text 192 wide and 2 deep, vision 128 wide and 4 deep."""
    return {
        "text_config": {
            "vocab_size": vocabulary,
            "hidden_size": 192,
            "intermediate_size": 384,
            "num_hidden_layers": 2,
            "initializer_range": _INIT,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "depth": 4,
            "initializer_range": _INIT,
            "embed_dim": 128,
            "hidden_size": 192,
            "num_heads": 4,
            "mlp_ratio": 3,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "tie_word_embeddings": True,
    }


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen2-VL's special tokens, at most 1,536 entries beside them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=_regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left"
    )


def _regex(pattern: str) -> Any:
    from tokenizers import Regex

    return Regex(pattern)
