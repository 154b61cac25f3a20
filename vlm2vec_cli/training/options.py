"""What a training run is told, as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from vlm2vec_cli.errors import UsageError

AUGMENTS = ("none", "light", "strong")
SCHEDULES = ("linear", "cosine", "constant")
# VLM2Vec-V2's target modules: with the MLP's gate and up, as from version 2.1 on.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Defaults are VLM2Vec-V2's published ones where it has them."""

    max_steps: int | None = None
    epochs: float = 1.0
    batch_size: int = 1024  # pairs in one step
    chunk_tokens: int = 16384  # text and visual tokens of one GradCache chunk
    grad_cache: bool = True
    homogeneous: int = 0  # rows of one dataset that stay together; 0: any mixture
    num_hard_negatives: int | None = None  # of each row at most; None: all
    mask_duplicates: bool = True
    loss: str = "info_nce"
    temperature: float = 0.02
    matryoshka: tuple[int, ...] = ()
    learning_rate: float = 5e-5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    warmup_steps: int = 100
    schedule: str = "linear"
    full: bool = False
    lora_r: int = 16
    lora_alpha: int = 64
    lora_dropout: float = 0.1
    lora_targets: tuple[str, ...] = LORA_TARGETS
    dora: bool = True
    augment: str = "none"
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    save_steps: int = 0
    save_total_limit: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        """Raises UsageError for a value that no run can have."""
        least = {
            "batch_size": 1,
            "chunk_tokens": 1,
            "lora_r": 1,
            "homogeneous": 0,
            "warmup_steps": 0,
            "save_steps": 0,
            "weight_decay": 0,
            "max_grad_norm": 0,
        }
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise UsageError(f"--{name.replace('_', '-')} must be at least {bound}")
        for name in ("temperature", "learning_rate", "epochs"):
            if not getattr(self, name) > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}", hint=f"one of {', '.join(SCHEDULES)}")
        if self.augment not in AUGMENTS:
            raise UsageError(f"unknown augmentation {self.augment!r}", hint=f"one of {', '.join(AUGMENTS)}")
        if not 0 <= self.lora_dropout < 1:
            raise UsageError("--lora-dropout must be at least 0 and below 1")
        if self.homogeneous and self.batch_size % self.homogeneous:
            raise UsageError("--homogeneous must divide --batch-size")
        if self.max_steps is not None and self.max_steps < 0:
            raise UsageError("--max-steps must be at least 0")

    def recorded(self) -> dict[str, Any]:
        """As JSON for vlm2vec.json."""
        return asdict(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The options by name."""
        return tuple(field.name for field in fields(cls))
