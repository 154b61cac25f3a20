"""The options that several commands share, so that they have one name, one meaning and one help text."""

import logging
from typing import Annotated

import typer

from vlm2vec_cli.errors import UsageError

PACKAGE_LOG = logging.getLogger("vlm2vec_cli")


def _level(level: int, value: bool) -> bool:
    if value:
        if PACKAGE_LOG.level not in (logging.NOTSET, logging.INFO, level):
            raise UsageError("--quiet and --verbose exclude each other")
        PACKAGE_LOG.setLevel(level)
    return value


def _quiet(value: bool) -> bool:
    return _level(logging.WARNING, value)


def _verbose(value: bool) -> bool:
    return _level(logging.DEBUG, value)


# What users of the published trainer type, where it means the same; `_` is as good as `-` everywhere.
ALIASES = {
    "dataloader-num-workers": "workers",
    "homogeneous-batch-size": "homogeneous",
    "image-dir": "media-root",
    "interleave-batch-size": "homogeneous",
    "lora-target-modules": "lora-targets",
    "lr": "learning-rate",
    "lr-scheduler-type": "schedule",
    "max-len": "max-length",
    "model-name": "model",
    "model-name-or-path": "model",
    "num-hardneg": "num-hard-negatives",
    "num-sample-per-subset": "rows-per-dataset",
    "num-train-epochs": "epochs",
    "output-dir": "output",
    "resize-max-pixels": "max-pixels",
    "resize-min-pixels": "min-pixels",
    "resume-from": "resume",
}


def own_name(name: str) -> str:
    """Our name of an option.

    >>> own_name("lr_scheduler_type")
    'schedule'
    """
    plain = name.replace("_", "-")
    return ALIASES.get(plain, plain)


# Rows in and out
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...", help="Files or folders of part files; - or none is stdin.", show_default=False
    ),
]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where the output goes; - is stdout.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="Output format where the file's suffix does not say: jsonl, parquet."
    ),
]
OnError = Annotated[
    str,
    typer.Option("--on-error", metavar="fail|skip", help="What a bad row does: stop the run, or be skipped."),
]
RejectsFile = Annotated[
    str | None,
    typer.Option("--rejects", metavar="FILE", help="Write skipped rows here, with place, code and reason."),
]
AllowRejects = Annotated[
    int,
    typer.Option(
        "--allow-rejects", metavar="N", min=0, help="Skipped rows up to which the run still counts as done."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows of the input.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of everything random.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_quiet, help="Only warnings and errors on stderr.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=_verbose, help="More on stderr.")]

# Media
MediaRoot = Annotated[
    str | None,
    typer.Option(
        "--media-root",
        metavar="DIR",
        envvar="VLM2VEC_MEDIA_ROOT",
        help="What media references are resolved against; else the input's folder, else the current one.",
    ),
]
TrustPaths = Annotated[
    bool, typer.Option("--trust-paths", help="Let references in rows leave the media root.")
]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Let references in rows be http(s) addresses.")
]
MinPixels = Annotated[
    int | None,
    typer.Option("--min-pixels", metavar="N", min=1, help="Smaller pictures are enlarged to N pixels."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", metavar="N", min=1, help="Larger pictures are reduced to N pixels."),
]
NumFrames = Annotated[
    int | None, typer.Option("--num-frames", metavar="N", min=1, help="Frames taken of a video.")
]

# Model
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A checkpoint folder, a hub id, quickstart (shipped), or tiny (random).",
    ),
]
Adapter = Annotated[
    str | None, typer.Option("--adapter", metavar="DIR", help="A PEFT adapter to put on the model.")
]
Revision = Annotated[
    str | None, typer.Option("--revision", metavar="NAME", help="The hub revision of the model.")
]
ModelConfig = Annotated[
    str | None,
    typer.Option(
        "--model-config",
        metavar="FILE",
        help="JSON with what the model's files leave open: prompt_family, limits, base.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="NAME", help="Numbers the model computes in: auto, float32, bfloat16, float16."
    ),
]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", metavar="N", min=1, help="Tokens after which an input is cut.")
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        metavar="N",
        min=1,
        help="Tokens in one forward pass, at most; default: by free memory.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=0, help="Threads that read media ahead of the model."),
]
NumProcesses = Annotated[
    int, typer.Option("--num-processes", metavar="N", min=1, help="Processes, one a device.")
]
