"""What a training run is told, as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from vlm2vec_cli.errors import UsageError, nearest

# Of a closed set of names.
NAMES = {
    "schedule": ("linear", "cosine", "constant"),
    "augment": ("none", "light", "strong"),
    "optimizer": ("adamw", "adamw-8bit"),
    "vision": ("frozen", "merger", "trained"),
}
_WORDS = {"augment": "augmentation"}
# VLM2Vec-V2's target modules: with the MLP's gate and up, as from version 2.1 on.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_LEAST = {
    "batch_size": 1,
    "chunk_tokens": 1,
    "lora_r": 1,
    "homogeneous": 0,
    "warmup_steps": 0,
    "save_steps": 0,
    "eval_steps": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
}

Named = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Defaults are VLM2Vec-V2's published ones where it has them."""

    max_steps: int | None = None
    epochs: float = 1.0
    batch_size: int = 1024  # pairs in one step
    chunk_tokens: int = 16384  # text and visual tokens of one GradCache chunk
    grad_cache: bool = True
    homogeneous: int = 0  # rows of one dataset that stay together; 0: any mixture
    homogeneous_modality: Named = ()  # the same for rows of one modality
    dataset_weight: Named = ()  # passes over a dataset, by pattern, in one epoch
    rows_per_dataset: int | None = None
    dataset_rows: Named = ()  # the same for some datasets, by pattern
    num_hard_negatives: int | None = None  # of each row at most; None: all
    private_negatives: bool = False
    mask_duplicates: bool = True
    false_negative_margin: float | None = None
    loss: str = "info_nce"
    loss_options: Named = ()
    temperature: float = 0.02
    dataset_temperatures: Named = ()
    learn_temperature: bool = False
    matryoshka: tuple[int, ...] = ()
    matryoshka_weights: tuple[float, ...] = ()
    learning_rate: float = 5e-5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    warmup_steps: float = 100  # below 1: a share of all steps
    schedule: str = "linear"
    optimizer: str = "adamw"
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    full: bool = False
    lora_r: int = 16
    lora_alpha: int = 64
    lora_dropout: float = 0.1
    lora_targets: tuple[str, ...] = LORA_TARGETS
    dora: bool = True
    vision: str = "frozen"
    merge: bool = False  # full weights in the end, the adapter in them
    augment: str = "none"
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    save_steps: int = 0
    save_total_limit: int | None = None
    eval_steps: int = 0
    early_stopping: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        """Raises UsageError for a value that no run can have."""
        for name, bound in _LEAST.items():
            if not getattr(self, name) >= bound:
                raise UsageError(f"--{name.replace('_', '-')} must be at least {bound}")
        for name in ("temperature", "learning_rate", "epochs"):
            if not getattr(self, name) > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0")
        for name, known in NAMES.items():
            if (given := getattr(self, name)) not in known:
                word = _WORDS.get(name, name)
                raise UsageError(f"unknown {word} {given!r}", hint=f"one of {', '.join(known)}")
        for name in ("lora_dropout", "adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 0 and below 1")
        for name, values, least in (
            ("--dataset-weight", self.dataset_weight, 0.0),
            ("--dataset-temperature", self.dataset_temperatures, 1e-9),
            ("--homogeneous", self.homogeneous_modality, 0.0),
        ):
            if any(not value >= least for _, value in values):
                raise UsageError(f"{name} must be {'above' if least else 'at least'} 0")
        if any(number < 1 for number in (self.rows_per_dataset or 1, *dict(self.dataset_rows).values())):
            raise UsageError("--rows-per-dataset must be at least 1")
        self._check_blocks()
        if self.max_steps is not None and self.max_steps < 0:
            raise UsageError("--max-steps must be at least 0")
        if self.matryoshka_weights and len(self.matryoshka_weights) != len(self.matryoshka):
            raise UsageError("--matryoshka-weights must be as many as --matryoshka has dimensions")
        if any(not weight > 0 for weight in self.matryoshka_weights):
            raise UsageError("--matryoshka-weights must be above 0")
        if self.early_stopping is not None and not self.eval_steps:
            raise UsageError("--early-stopping needs --eval-steps")

    def _check_blocks(self) -> None:
        blocks = [self.homogeneous, *(int(block) for _, block in self.homogeneous_modality)]
        largest = max(blocks)
        for block in blocks:
            if block and self.batch_size % block:
                raise UsageError("--homogeneous must divide --batch-size")
            if block and largest % block:
                raise UsageError("of several sizes of --homogeneous each must divide the largest")
        for name, _ in self.homogeneous_modality:
            if name not in (known := ("text", "image", "video", "visdoc")):
                raise UsageError(
                    f"--homogeneous: unknown modality {name!r}",
                    hint=nearest(name, known) or f"one of {', '.join(known)}",
                )

    def recorded(self) -> dict[str, Any]:
        """As JSON for vlm2vec.json."""
        return asdict(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The options by name."""
        return tuple(field.name for field in fields(cls))
