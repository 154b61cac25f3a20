"""`vlm2vec embed`: items to vectors."""

from pathlib import Path
from typing import Annotated

import typer

from vlm2vec_cli import options, progress, streams
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.vector import VECTOR

DEFAULT_MODEL = "VLM2Vec/VLM2Vec-V2.0"

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


def main(
    inputs: options.Inputs = None,
    model: options.Model = DEFAULT_MODEL,
    output: options.Output = "-",
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
    with streams.Session(
        inputs, output, natural="parquet", format=format, on_error=on_error, rejects=rejects,
        allow_rejects=allow_rejects, limit=limit, media_root=media_root, quiet=quiet,
    ) as session:  # fmt: skip
        records = session.read(ITEM)
        from vlm2vec_cli import embedding, encoder, media

        embedding.check_precision(precision, normalize)
        texts = None
        if model == encoder.TINY:
            records = iter(kept := list(records))
            texts = encoder.texts_of(record.row for record in kept)
        loaded = encoder.load(
            model, media.MediaReader(media.MediaPolicy(trust_paths=trust_paths, allow_remote=allow_remote)),
            adapter=adapter, revision=revision, device=device, dtype=dtype, min_pixels=min_pixels,
            max_pixels=max_pixels, num_frames=num_frames, max_length=max_length, texts=texts, seed=seed,
            output=encoder.Output(dim, normalize), batch_tokens=batch_tokens, workers=workers,
            config=model_config,
        )  # fmt: skip
        rows = embedding.embed(
            records, loaded, session.reject, instruction=instruction, precision=precision,
            keep=keep or (), drop=drop or (),
        )  # fmt: skip
        facts = {"model": loaded.model, "revision": loaded.revision, "fingerprint": loaded.fingerprint,
                 "precision": precision, "dim": loaded.dim, "normalize": normalize}  # fmt: skip
        session.write(progress.bar(rows, label="embed", quiet=quiet), VECTOR, facts)
