"""Embeds a dataset of rows on a Ray cluster: `pip install "ray[data]"` on its machines, beside vlm2vec.

    python examples/ray/embed_dataset.py rows.jsonl vectors --model VLM2Vec/VLM2Vec-V2.0 --actors 16 --gpus 1
    vlm2vec score vectors

Ray Data reads the lines in blocks, sends them to actors that hold the engine of `vlm2vec embed`, and writes what
they return as Parquet files, in any order. All machines see the same files: the rows, the media, the output.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow as pa
import ray

from vlm2vec_cli import embedding, encoder, media
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.item import ITEM


class Embed:
    """A loaded model; called with lines of JSON, gives vectors as other commands of vlm2vec read them."""

    def __init__(self, model: str, root: Path, options: dict[str, int]) -> None:
        self.encoder = encoder.load(model, media.MediaReader(), **options)
        self.origin = Origin("block", root, "row")

    def __call__(self, block: pa.Table) -> pa.Table:
        """A column `text` of lines to `embedding` and `_extra`, the fields of each row as JSON."""
        lines = enumerate(block["text"].to_pylist(), start=1)
        records = (Record(ITEM.parse(json.loads(line), str(at)), self.origin, at) for at, line in lines)
        rows = list(embedding.embed(records, self.encoder, reject=_stop))
        vectors = [row.pop("embedding") for row in rows]
        facts = {"model": self.encoder.model, "fingerprint": self.encoder.fingerprint}
        return pa.table(
            {
                "embedding": pa.array(vectors, pa.list_(pa.float32(), self.encoder.dim)),
                "_extra": [json.dumps({**row, **facts}) for row in rows],
            }
        )


def _stop(error: Exception) -> None:
    raise error


def main() -> None:
    """Parses the command line and embeds."""
    parser = argparse.ArgumentParser(description="Embeds a dataset of rows on a Ray cluster.")
    parser.add_argument("rows", help="JSON lines, each with an id: what `vlm2vec prepare` writes")
    parser.add_argument("vectors", help="a new folder")
    parser.add_argument("--model", default="VLM2Vec/VLM2Vec-V2.0")
    parser.add_argument("--media-root", type=Path, help="default: the folder of the rows")
    parser.add_argument("--actors", type=int, default=1, help="how many processes hold the model")
    parser.add_argument("--gpus", type=float, default=0, help="of each actor")
    parser.add_argument("--block-rows", type=int, default=4096)
    parser.add_argument("--max-pixels", type=int)
    args = parser.parse_args()
    root = (args.media_root or Path(args.rows).parent).resolve()
    options = {} if args.max_pixels is None else {"max_pixels": args.max_pixels}
    (
        ray.data.read_text(str(Path(args.rows).resolve()))
        .map_batches(
            Embed,
            fn_constructor_args=(args.model, root, options),
            batch_format="pyarrow",
            batch_size=args.block_rows,
            num_gpus=args.gpus,
            compute=ray.data.ActorPoolStrategy(size=args.actors),
        )
        .write_parquet(str(Path(args.vectors).resolve()))
    )


if __name__ == "__main__":
    main()
