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
        _table("dataset", {"pairs": counts}),
    ]
    if "loss" in facts:
        body.append(f"## Loss\n\n{facts['loss']:.4f} nats in step {facts['step']}, of its pairs:")
        body.append(_table("dataset", {"loss": facts["dataset_loss"]}))
    if evaluation := facts.get("evaluation"):
        score, step, last = evaluation["score"], evaluation["step"], evaluation["last_step"]
        body.append(f"## Evaluation\n\nBest mean score {score:.4f}, after step {step}.")
        columns = {f"after step {step}": evaluation["dataset_score"]}
        columns[f"after step {last}"] = evaluation["last_dataset_score"]
        body.append(_table("dataset", columns))
    body.append("## Options\n\n```json\n" + json.dumps(facts["options"], indent=2, sort_keys=True) + "\n```")
    return "\n".join(head) + "\n\n" + "\n\n".join(body) + "\n"


def _table(head: str, columns: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown; the rows are the names of the first column's numbers."""
    lines = [f"| {' | '.join([head, *columns])} |", f"|---|{'--:|' * len(columns)}"]
    for name in next(iter(columns.values())):
        numbers = [one[name] for one in columns.values()]
        cells = [str(one) if isinstance(one, int) else f"{one:.4f}" for one in numbers]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)
