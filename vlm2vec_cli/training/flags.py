"""The options of `vlm2vec train` that no other command has. Nothing heavy is imported here."""

from typing import Annotated, Any

from typer import Option

from vlm2vec_cli.training import presets


def _(metavar: str, help: str, least: int | None = None, **more: Any) -> Any:
    return Option(metavar=metavar, help=help, min=least, **more)


def _switch(words: str, help: str, **more: Any) -> Any:
    return Option(words, help=help, **more)


Out = Annotated[
    str, Option("--output", "-o", metavar="DIR", help="The checkpoint folder.", show_default=False)
]
Config = Annotated[
    str | None,
    _("FILE.toml", "Options by name; the command line wins.", callback=presets.from_file, is_eager=True),
]
Preset = Annotated[
    str | None,
    _(
        "NAME",
        "Options of a published run: vlm2vec-v2, vlm2vec-v1, sgg.",
        callback=presets.from_preset,
        is_eager=True,
    ),
]
DryRun = Annotated[bool, _switch("--dry-run", "Say what would be done, and do not.")]

# Length and batches
MaxSteps = Annotated[int | None, _("N", "Steps of the run; else whole --epochs.", 0)]
Epochs = Annotated[float, _("N", "Passes over the data.")]
BatchSize = Annotated[int, _("N", "Pairs in one step, of all processes together.")]
ChunkTokens = Annotated[int, _("N", "Tokens of one GradCache chunk: what memory grows with.")]
GradCache = Annotated[
    bool, _switch("--grad-cache/--no-grad-cache", "Two passes over chunks, or one over the batch.")
]
Homogeneous = Annotated[
    str,
    _(
        "N,MODALITY=N",
        "Blocks of N rows of one dataset, or of its mined `batch`; 0: mix. Example: 64,video=1024.",
    ),
]
DatasetWeight = Annotated[
    list[str] | None, _("NAME=W", "Passes over a dataset in an epoch; NAME may be a pattern (repeatable).")
]
RowsPerDataset = Annotated[
    list[str] | None,
    _("N|NAME=N", "Only the first N rows of each dataset, or of NAME, a pattern (repeatable)."),
]
NumHardNegatives = Annotated[int | None, _("N", "Negatives used of each row, at most.", 0)]

# Loss
PrivateNegatives = Annotated[bool, _switch("--private-negatives", "A row's negatives are nobody else's.")]
MaskDuplicates = Annotated[
    bool, _switch("--mask-duplicates/--no-mask-duplicates", "Other correct answers are no negatives.")
]
Margin = Annotated[
    float | None, _("M", "A target that scores more than M above the positive is no negative.")
]
Loss = Annotated[str, _("NAME", "info-nce, symmetric-info-nce or hardness-weighted-info-nce.")]
LossOption = Annotated[list[str] | None, _("NAME=X", "An option of the loss, such as alpha=9 (repeatable).")]
Temperature = Annotated[float, _("T", "Temperature of the softmax.")]
DatasetTemperature = Annotated[
    list[str] | None, _("NAME=T", "That of a dataset; NAME may be a pattern (repeatable).")
]
LearnTemperature = Annotated[
    bool, _switch("--learn-temperature", "Temperatures are trained, from 0.01 to 1.")
]
Matryoshka = Annotated[str | None, _("D,D", "Train the first D numbers, for each D.")]
MatryoshkaWeights = Annotated[str | None, _("W,W", "How much each D counts; else alike.")]

# Optimizer
LearningRate = Annotated[float, _("R", "Highest learning rate.")]
WeightDecay = Annotated[float, _("W", "AdamW's weight decay, on matrices.")]
MaxGradNorm = Annotated[float, _("N", "Gradients are cut to this norm; 0: not.")]
WarmupSteps = Annotated[float, _("N", "Steps of linear warm-up; below 1, a share of all.")]
Schedule = Annotated[str, _("NAME", "After it: linear, cosine or constant.")]
Optimizer = Annotated[str, _("NAME", "adamw, or adamw-8bit (needs bitsandbytes).")]
Beta1 = Annotated[float, _("B", "AdamW's first decay rate.")]
Beta2 = Annotated[float, _("B", "AdamW's second decay rate.")]

# What is trained
Lora = Annotated[
    bool | None,
    _switch("--lora/--full", "Train an adapter, or all weights (tiny always).", show_default="--lora"),
]
LoraR = Annotated[int, _("N", "Rank of the adapter.")]
LoraAlpha = Annotated[int, _("N", "The adapter counts alpha / r.")]
LoraDropout = Annotated[float, _("P", "Dropout before the adapter.")]
LoraTargets = Annotated[
    str | None,
    _(
        "NAME,NAME",
        "Modules adapted, or vlm2vec-v2, vlm2vec-v2.1 (all of the decoder).",
        show_default="VLM2Vec's for the model",
    ),
]
Dora = Annotated[bool, _switch("--dora/--no-dora", "Weight-decomposed LoRA.")]
Merge = Annotated[bool, _switch("--merge", "Leave full weights with the adapter in them, not the adapter.")]
Vision = Annotated[
    str | None,
    _("NAME", "Vision tower: frozen, merger or trained.", show_default="frozen, with --full trained"),
]
Augment = Annotated[str, _("NAME", "Change pictures at random: none, light, strong.")]
Precision = Annotated[str, _("NAME", "bf16, fp32, or auto (measured).")]
Checkpointing = Annotated[bool, _switch("--gradient-checkpointing", "Compute activations twice, store none.")]

# Along the way
Eval = Annotated[
    str | None, Option("--eval", metavar="FILE", help="Items with relevant: the best model goes to DIR/best.")
]
EvalSteps = Annotated[int, _("N", "Evaluate every N steps; 0: at the end.")]
EarlyStopping = Annotated[int | None, _("N", "Stop after N evaluations without a better one.", 1)]
SaveSteps = Annotated[int, _("N", "A checkpoint every N steps; 0: none.")]
SaveTotalLimit = Annotated[int | None, _("N", "The newest N checkpoints are kept; else all.", 1)]
Resume = Annotated[str, _("auto|none|DIR", "Go on from the newest checkpoint in -o, or not.")]
AllowChanged = Annotated[
    list[str] | None, _("NAME", "Go on although this option, or data, has changed (repeatable).")
]
ReportTo = Annotated[str | None, _("NAME", "Events also to tensorboard, wandb or trackio.")]
