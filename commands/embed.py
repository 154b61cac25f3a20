"""`vlm2vec embed`: items to vectors."""

from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer

from vlm2vec_cli import launch, options, progress, shards, streams
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.vector import VECTOR

DEFAULT_MODEL = "VLM2Vec/VLM2Vec-V2.0"
PART_ROWS = 4096

Instruction = Annotated[
    str | None, typer.Option("--instruction", metavar="TEXT", help="Instruction for rows that have none.")
]
Dim = Annotated[
    int | None, typer.Option("--dim", metavar="N", help="Keep the first N numbers, renormalised.")
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", metavar="NAME", help="How vectors are stored: float32, float16, int8, binary."
    ),
]
OutputOrFolder = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE|DIR/", help="Where vectors go; - is stdout, a folder gets part files."
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N|auto", help="Make only these parts; auto: by the Slurm array."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Skip parts that are finished, after a check.")]
PartRows = Annotated[int, typer.Option("--part-rows", metavar="N", min=1, help="Input rows of one part.")]
Check = Annotated[
    int | None,
    typer.Option(
        "--check", metavar="N", min=1, help="First compare N of the first rows with stock transformers."
    ),
]


def main(
    inputs: options.Inputs = None,
    model: options.Model = DEFAULT_MODEL,
    output: OutputOrFolder = "-",
    format: options.Format = None,
    adapter: options.Adapter = None,
    revision: options.Revision = None,
    model_config: options.ModelConfig = None,
    merge_to: Annotated[
        str | None,
        typer.Option(
            "--merge-to", metavar="DIR", help="Only write the model there, its adapter merged; read no rows."
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    instruction: Instruction = None,
    dim: Dim = None,
    precision: Precision = "float32",
    normalize: Annotated[
        bool, typer.Option("--normalize/--no-normalize", help="L2-normalise vectors.")
    ] = True,
    min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None,
    num_frames: options.NumFrames = None,
    max_length: options.MaxLength = None,
    batch_tokens: options.BatchTokens = None,
    workers: options.Workers = None,
    shard: ShardOf = None,
    resume: Resume = False,
    part_rows: PartRows = PART_ROWS,
    num_processes: options.NumProcesses = 1,
    check: Check = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Write only these fields (repeatable).")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Leave this field out (repeatable).")
    ] = None,
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
    """Turn items (text, image, video, or any mix) into vectors, in the order of the rows.

    Memory: one window of rows, whatever the length of the input (-m tiny reads all rows first).

    A folder as output (-o DIR/) gets numbered part files, which other commands read as one input. Each is
    complete or absent; the same command with --resume makes those that are missing. Under srun, torchrun or
    --num-processes every process makes its share of them.

    Vectors stored as int8 are scaled one by one and compared by cosine, binary ones are packed signs. In
    DuckDB: SELECT id, list_cosine_similarity(embedding, [...]) FROM 'vectors.parquet'; in Python:
    polars.read_parquet("vectors.parquet")["embedding"].to_numpy(), ready for faiss.IndexFlatIP.

    Examples:
      printf '{"text":"a red apple"}\\n{"image":"x.png"}\\n' | vlm2vec embed -m quickstart > vectors.parquet

      vlm2vec prepare quickstart | vlm2vec embed -m quickstart | vlm2vec score
    """
    if merge_to:
        from vlm2vec_cli import merging

        merging.merge(
            model, Path(merge_to), adapter=adapter, revision=revision, dtype=dtype, config=model_config
        )
        return
    launch.check_inputs(inputs)
    own = shards.find(shard)
    in_parts = output.endswith("/") or Path(output).is_dir()
    if not in_parts and (own.count > 1 or resume or num_processes > 1):
        raise UsageError("shards, processes and --resume need a folder for part files", hint="-o DIR/")
    if in_parts and format not in (None, "parquet"):
        raise UsageError(f"--format {format}: part files are Parquet", hint="leave --format out")
    launching = num_processes > 1 and not launch.is_member()
    if launching:
        rejects = None  # each process has its own
    elif rejects and own.count > 1:
        rejects = f"{rejects}.{own.name}"
    with streams.Session(
        inputs, output, natural="parquet", format=format, on_error=on_error, rejects=rejects,
        allow_rejects=allow_rejects, limit=limit, media_root=media_root, quiet=quiet, parts=in_parts,
    ) as session:  # fmt: skip
        if launching:
            raise typer.Exit(launch.run(num_processes, inputs, together=False))
        records = session.read(ITEM)
        from vlm2vec_cli import embedding, encoder, media, parts

        embedding.check_precision(precision, normalize)
        texts = None
        if model == encoder.TINY:
            records = iter(kept := list(records))
            texts = encoder.texts_of(record.row for record in kept)
        policy = media.MediaPolicy(trust_paths=trust_paths, allow_remote=allow_remote)
        loaded = encoder.load(
            model, media.MediaReader(policy, decode=media.Apart()),
            adapter=adapter, revision=revision, device=device, dtype=dtype,
            min_pixels=min_pixels, max_pixels=max_pixels, num_frames=num_frames, max_length=max_length,
            texts=texts, seed=seed, output=encoder.Output(dim, normalize), batch_tokens=batch_tokens,
            workers=workers, config=model_config,
        )  # fmt: skip
        if check:
            first = list(islice(records, check * embedding.CHECK_AMONG))
            embedding.check(first, check, loaded, instruction=instruction, seed=seed)
            records = chain(first, records)
        facts = {"model": loaded.model, "revision": loaded.revision, "fingerprint": loaded.fingerprint,
                 "precision": precision, "calibration": embedding.CALIBRATION[precision],
                 "dim": loaded.dim, "normalize": normalize, "instruction": instruction,
                 "keep": sorted(keep or ()) or None, "drop": sorted(drop or ()) or None}  # fmt: skip
        make = partial(
            embedding.embed_each, encoder=loaded, reject=session.reject, instruction=instruction,
            precision=precision, keep=keep or (), drop=drop or (),
        )  # fmt: skip
        if in_parts:
            parts.write(
                records, lambda some: progress.bar(make(some), label="embed", quiet=quiet), Path(output),
                shards.find(shard), facts, session.reject, size=part_rows, resume=resume,
            )  # fmt: skip
        else:
            rows = (row for row in make(records) if row is not None)
            session.write(progress.bar(rows, label="embed", quiet=quiet), VECTOR, facts)
