"""The model card of a checkpoint folder, README.md: base, data, options, evaluation, how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def text(base: str, facts: Mapping[str, Any], *, is_adapter: bool) -> str:
    """Markdown with the front matter that model hubs read."""
    kind = "A LoRA adapter on" if is_adapter else "Full weights, trained from"
    head = ["---", "library_name: " + ("peft" if is_adapter else "transformers")]
    if "/" in base and not base.startswith(("/", ".")):
        head.append(f"base_model: {base}")
    head += ["pipeline_tag: feature-extraction", "tags: [embedding, multimodal, vlm2vec]", "---"]
    counts = facts.get("dataset_counts", {})
    body = [
        "# A multimodal embedding model",
        f"{kind} `{base}`, after step {facts['step']} of contrastive training with `vlm2vec train`.",
        "    vlm2vec embed rows.jsonl -m THIS_FOLDER -o vectors.parquet",
        f"## Data\n\n{sum(counts.values())} pairs, digest `{str(facts['data_digest'])[:16]}`.",
        "\n".join(["| dataset | pairs |", "|---|--:|", *(f"| {name} | {n} |" for name, n in counts.items())]),
    ]
    if evaluation := facts.get("evaluation"):
        score, step = evaluation["score"], evaluation["step"]
        body.append(f"## Evaluation\n\nBest mean score {score:.4f}, after step {step}.")
    body.append("## Options\n\n```json\n" + json.dumps(facts["options"], indent=2, sort_keys=True) + "\n```")
    return "\n".join(head) + "\n\n" + "\n\n".join(body) + "\n"
