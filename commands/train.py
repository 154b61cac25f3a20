"""`vlm2vec train`: pairs to a checkpoint."""

from typing import Annotated

import typer

from vlm2vec_cli import options, progress, streams
from vlm2vec_cli.schemas.event import EVENT
from vlm2vec_cli.schemas.pair import PAIR

Out = Annotated[
    str, typer.Option("--output", "-o", metavar="DIR", help="The checkpoint folder.", show_default=False)
]
Steps = Annotated[
    int | None, typer.Option("--max-steps", metavar="N", min=0, help="Steps of the run; else whole --epochs.")
]
Lora = Annotated[
    bool | None,
    typer.Option(
        "--lora/--full", help="Train an adapter, or all weights (tiny always).", show_default="--lora"
    ),
]


def main(
    inputs: options.Inputs = None,
    model: options.Model = "Qwen/Qwen2-VL-2B-Instruct",
    output: Out = "",
    adapter: options.Adapter = None,
    revision: options.Revision = None,
    device: options.Device = "auto",
    max_steps: Steps = None,
    epochs: Annotated[float, typer.Option(metavar="N", help="Passes over the data.")] = 1.0,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Pairs in one step.")] = 1024,
    chunk_tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of one GradCache chunk.")] = 16384,
    grad_cache: Annotated[
        bool,
        typer.Option("--grad-cache/--no-grad-cache", help="Two passes over chunks, or one over the batch."),
    ] = True,
    homogeneous: Annotated[
        int, typer.Option(metavar="N", help="Keep N rows of one dataset together; 0: mix.")
    ] = 0,
    num_hard_negatives: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Negatives used of each row, at most.")
    ] = None,
    mask_duplicates: Annotated[
        bool,
        typer.Option(
            "--mask-duplicates/--no-mask-duplicates", help="Other correct answers are no negatives."
        ),
    ] = True,
    loss: Annotated[str, typer.Option(metavar="NAME", help="info_nce or symmetric_info_nce.")] = "info_nce",
    temperature: Annotated[float, typer.Option(metavar="T", help="Temperature of the softmax.")] = 0.02,
    matryoshka: Annotated[
        str | None, typer.Option(metavar="D,D", help="Train the first D numbers, for each D.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(metavar="R", help="Highest learning rate.")] = 5e-5,
    weight_decay: Annotated[
        float, typer.Option(metavar="W", help="AdamW's weight decay, on matrices.")
    ] = 0.0,
    max_grad_norm: Annotated[
        float, typer.Option(metavar="N", help="Gradients are cut to this norm; 0: not.")
    ] = 1.0,
    warmup_steps: Annotated[int, typer.Option(metavar="N", help="Steps of linear warm-up.")] = 100,
    schedule: Annotated[
        str, typer.Option(metavar="NAME", help="After it: linear, cosine or constant.")
    ] = "linear",
    lora: Lora = None,
    lora_r: Annotated[int, typer.Option(metavar="N", help="Rank of the adapter.")] = 16,
    lora_alpha: Annotated[int, typer.Option(metavar="N", help="The adapter counts alpha / r.")] = 64,
    lora_dropout: Annotated[float, typer.Option(metavar="P", help="Dropout before the adapter.")] = 0.1,
    lora_targets: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Modules adapted; else all of the decoder.")
    ] = None,
    dora: Annotated[bool, typer.Option("--dora/--no-dora", help="Weight-decomposed LoRA.")] = True,
    augment: Annotated[
        str, typer.Option(metavar="NAME", help="Change pictures at random: none, light, strong.")
    ] = "none",
    precision: Annotated[str, typer.Option(metavar="NAME", help="bf16, fp32, or auto (measured).")] = "auto",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute activations twice, store none.")
    ] = False,
    save_steps: Annotated[int, typer.Option(metavar="N", help="A checkpoint every N steps; 0: none.")] = 0,
    save_total_limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The newest N checkpoints are kept; else all.")
    ] = None,
    resume: Annotated[
        str, typer.Option(metavar="auto|none|DIR", help="Go on from the newest checkpoint in -o, or not.")
    ] = "auto",
    min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None,
    num_frames: options.NumFrames = None,
    media_root: options.MediaRoot = None,
    trust_paths: options.TrustPaths = False,
    allow_remote: options.AllowRemote = False,
    on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None,
    allow_rejects: options.AllowRejects = 0,
    limit: options.Limit = None,
    seed: options.Seed = 42,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train an embedder on pairs; the checkpoint goes into a folder, training events (JSONL) to stdout.

    Memory: all rows without their media, the model, and the activations of one chunk.

    Examples:
      vlm2vec prepare quickstart --split train | vlm2vec train -m tiny -o runs/tiny --max-steps 20

      vlm2vec train pairs.jsonl -m Qwen/Qwen2-VL-2B-Instruct -o runs/mine --max-steps 1000 > mine.log.jsonl
    """
    given = dict(locals())
    with streams.Session(
        inputs, natural="jsonl", on_error=on_error, rejects=rejects, allow_rejects=allow_rejects,
        limit=limit, media_root=media_root, quiet=quiet,
    ) as session:  # fmt: skip
        records = session.read(PAIR)
        from vlm2vec_cli import training

        events = training.run(records, given)
        session.write(progress.bar(events, label="train", unit="event", quiet=quiet), EVENT)
