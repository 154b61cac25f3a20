"""How much of which dataset: the sampler of a run, from patterns of dataset names."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Pairs
from vlm2vec_cli.training.sampling import Sampler


def sampler_of(pairs: Pairs, options: TrainOptions) -> Sampler:
    """The sampler that the options describe. Raises UsageError for a pattern that no dataset has."""
    weights: dict[str, float] = {}
    for option, given in (
        ("--rows-per-dataset", options.dataset_rows),
        ("--dataset-weight", options.dataset_weight),
        ("--dataset-temperature", options.dataset_temperatures),
    ):
        for pattern, value in given:
            found = [name for name in pairs.names if fnmatchcase(name, pattern)]
            if not found:
                hint = nearest(pattern, pairs.names) or f"there are {', '.join(pairs.names[:8])}"
                raise UsageError(f"{option}: no dataset {pattern!r}", hint=hint)
            if option == "--dataset-weight":
                weights |= {name: value for name in found if name not in weights}
    blocks: int | list[int] = options.homogeneous
    if options.homogeneous_modality:
        own = {name: int(value) for name, value in options.homogeneous_modality}
        blocks = [own.get(kind, options.homogeneous) for kind in pairs.modalities]
    return Sampler(
        pairs.datasets, options.batch_size, options.seed, blocks, weights, pairs.positives, pairs.mined
    )


def counts(pairs: Pairs, sampler: Sampler) -> dict[str, dict[str, Any]]:
    """Rows of each dataset, and its share of what is drawn."""
    names = pairs.datasets
    rows, drawn = Counter(names), Counter(names[row] for row in sampler.epoch_rows)
    total = drawn.total()
    return {name: {"rows": rows[name], "share": round(drawn[name] / total, 6)} for name in pairs.names}
