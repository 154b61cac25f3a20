"""Embeds a dataset of rows on a Ray cluster: `pip install "ray[data]"` on its machines, beside vlm2vec.

    python examples/ray/embed_dataset.py rows.jsonl vectors --model VLM2Vec/VLM2Vec-V2.0 --actors 16 --gpus 1
    vlm2vec score vectors

Ray Data reads the lines in blocks and sends them to actors that hold the engine of `vlm2vec embed`; each
block becomes a part file. All machines see the same files: the rows, the media, the output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import ray

from vlm2vec_cli import embedding, encoder, media, streams
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.vector import VECTOR

PRECISION = "float32"


class Embed:
    """A loaded model; called with lines of JSON, writes their vectors as `vlm2vec embed` does."""

    def __init__(self, model: str, root: Path, folder: Path, options: dict[str, int]) -> None:
        self.encoder = encoder.load(model, media.MediaReader(decode=media.Apart()), **options)
        self.origin = Origin("block", root, "row")
        self.folder = folder

    def __call__(self, block: pa.Table) -> pa.Table:
        """A column `text` of lines to the part file that holds their vectors, and how many they are."""
        lines = block["text"].to_pylist()
        # the same block has the same name, so that Ray may try one twice
        name = hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
        part = self.folder / f"part-{name}.parquet"
        records = (
            Record(ITEM.parse(json.loads(line), str(at)), self.origin, at) for at, line in enumerate(lines, 1)
        )
        facts = {"model": self.encoder.model, "revision": self.encoder.revision,
                 "fingerprint": self.encoder.fingerprint, "dim": self.encoder.dim,
                 "normalize": self.encoder.normalize, "precision": PRECISION}  # fmt: skip
        rows = embedding.embed(records, self.encoder, reject=_stop, precision=PRECISION)
        streams.write_file(str(part), rows, VECTOR, facts)
        return pa.table({"part": [part.name], "rows": [len(lines)]})


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
    folder = Path(args.vectors).resolve()
    folder.mkdir(parents=True)
    options = {} if args.max_pixels is None else {"max_pixels": args.max_pixels}
    parts = ray.data.read_text(str(Path(args.rows).resolve())).map_batches(
        Embed,
        fn_constructor_args=(args.model, root, folder, options),
        batch_format="pyarrow",
        batch_size=args.block_rows,
        num_gpus=args.gpus,
        compute=ray.data.ActorPoolStrategy(size=args.actors),
    )
    for part in parts.iter_rows():
        print(part["part"], part["rows"])


if __name__ == "__main__":
    main()
