"""The fingerprint: a hash of all that decides a vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.checkpoints import Checkpoint


def fingerprint(checkpoint: Checkpoint, backbone: Backbone, output: Mapping[str, Any]) -> str:
    """16 hexadecimal digits over weights, adapter, tokenizer, prompts, limits, number type and `output`."""
    files = {
        **_digests(checkpoint.weights, ("*.safetensors", "pytorch_model*.bin", "config.json")),
        **_digests(checkpoint.folder, ("tokenizer.json", "vocab.json", "merges.txt")),
    }
    if checkpoint.adapter:
        files.update(_digests(checkpoint.adapter, ("adapter_model.*", "adapter_config.json")))
    facts = {
        "files": sorted(files.items()),
        "prompt_family": checkpoint.meta.get("prompt_family", "vlm2vec-v2"),
        "limits": asdict(backbone.limits),
        "pooling": "last",
        "output": dict(output),
        "dtype": str(next(backbone.model.parameters()).dtype),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 22):
                digest.update(block)
        found[path.name] = digest.hexdigest()
    return found
