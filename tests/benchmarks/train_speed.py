"""How fast `train` goes through pairs, and how its memory grows with the batch.

    python tests/benchmarks/train_speed.py --batch 16 --steps 3 --threads 2
    python tests/benchmarks/train_speed.py --workloads "" --growth --threads 2

The model is a Qwen2-VL of realistic proportions with random weights (130 million parameters, 78 of them the
token table) under a DoRA adapter of rank 16; the data is made by the script. Workloads: a a picture with a
question and a text that answers, b scene graphs: four relations of each picture, twelve of fifty labels as
negatives, c a text, the picture that it asks for and seven other pictures as hard negatives. Ways:

  reference  as VLM2Vec's trainer: GradCache in chunks of 8 rows a side, padded, in both passes the vision
             tower and the language-model head over all positions
  ours       `vlm2vec_cli.training`, whole steps with reading, tokenising and the optimizer

sentence-transformers' CachedMultipleNegativesRankingLoss is no third way: 6.2.0 loads these weights (with
torchvision), but as a model of texts or pictures, and refuses inputs that are both, as those of a and b are.

Both start from the same weights; their losses at the first step are compared (no dropout, duplicates not
masked). `--growth` measures the peak memory of two processes that train on the same 1,024 pairs of a, each
once, in batches of 64 and in a single batch.

2026-12-01, x86_64, 2 CPUs, torch 2.13.0+cpu, nothing beside it, by
`python tests/benchmarks/train_speed.py --batch 16 --steps 2 --threads 2`:

    workload | reference pairs/s | ours pairs/s | ratio | first losses apart
    a        | 1.70              | 4.58         | 2.69  | 0.0e+00
    b        | 0.71              | 7.30         | 10.28 | 1.8e-07
    c        | 0.30              | 0.69         | 2.27  | 7.1e-08

With one thread, on 2026-11-23, before attention took plain products for short texts: 2.27, 6.09 and 1.96
times.

2026-12-01, the same machine, by `python tests/benchmarks/train_speed.py --workloads "" --growth --threads 2`:
peak 4,750 MB in batches of 64, 4,578 MB in one of 1,024, 3.6 % less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from reference_trainer import Reference, loaded
from setting import WORDS, head, make_model
from vlm2vec_cli.engine import memory
from vlm2vec_cli.media import MediaPolicy, MediaReader
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.training.loop import train
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Pairs
from vlm2vec_cli.training.sampling import Sampler

SIDE = 224  # pixels: 64 visual tokens
Row = dict[str, Any]


def make_rows(folder: Path, workload: str, number: int) -> Iterator[Row]:
    """Pairs of a workload, their pictures in `folder`; the same ones for the same arguments."""
    generator = np.random.default_rng(ord(workload))

    def text(length: int) -> str:
        return " ".join(generator.choice(WORDS, length))

    def picture(name: str) -> str:
        if not (folder / f"{name}.png").exists():
            coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((SIDE, SIDE)).save(folder / f"{name}.png")
        return f"{name}.png"

    labels = [f"{first} {second}" for first in WORDS[:10] for second in WORDS[10:15]]
    for at in range(number):
        if workload == "a":
            query = {"image": picture(f"a{at}"), "text": text(12)}
            yield {"query": query, "positive": {"text": text(12)}}
        elif workload == "b":
            drawn = generator.choice(labels, 13, replace=False)
            query = {
                "image": picture(f"b{at // 4}"),
                "text": f"the subject {text(3)} and the object {text(3)}",
            }
            negatives = [{"text": str(one)} for one in drawn[1:]]
            yield {"query": query, "positive": {"text": str(drawn[0])}, "negatives": negatives}
        else:
            negatives = [{"image": picture(f"c{at}-{one}")} for one in range(7)]
            yield {
                "query": {"text": text(12)},
                "positive": {"image": picture(f"c{at}")},
                "negatives": negatives,
            }


def pairs_of(folder: Path, workload: str, number: int) -> Pairs:
    """As training reads them."""
    origin = Origin("pairs.jsonl", folder, "line")
    rows = enumerate(make_rows(folder, workload, number), start=1)
    return Pairs(Record(PAIR.parse(row, str(at)), origin, at) for at, row in rows)


def ours(folder: Path, pairs: Pairs, options: TrainOptions) -> tuple[list[float], float]:
    """Seconds of each step, and the first loss."""
    backbone, adapter = loaded(folder, options)
    with tempfile.TemporaryDirectory() as out:
        events = train(
            pairs, backbone, adapter, MediaReader(MediaPolicy()), options, Path(out) / "run",
            base=str(folder), facts={},
        )  # fmt: skip
        found = [event for event in events if event["event"] == "step"]
    return [options.batch_size / event["pairs_per_s"] for event in found], found[0]["loss"]


def reference(folder: Path, pairs: Pairs, options: TrainOptions) -> tuple[list[float], float]:
    """Seconds of each step, and the first loss."""
    made = Reference(folder, options)
    sampler = Sampler(pairs.datasets, options.batch_size, options.seed)
    seconds, losses = [], []
    for step in range(options.max_steps or 0):
        begin = time.perf_counter()
        losses.append(made.step(pairs, sampler.rows(step), options))
        seconds.append(time.perf_counter() - begin)
    return seconds, losses[0]


def speeds(folder: Path, arguments: argparse.Namespace) -> None:
    """A line for each workload. The first step of each way is not counted."""
    options = TrainOptions(
        batch_size=arguments.batch, max_steps=arguments.steps, chunk_tokens=arguments.chunk_tokens,
        lora_dropout=0.0, mask_duplicates=False, warmup_steps=0,
    )  # fmt: skip
    print("workload | reference pairs/s | ours pairs/s | ratio | first losses apart")
    for workload in arguments.workloads:
        pairs = pairs_of(folder, workload, arguments.batch * arguments.steps)
        rates, losses = [], []
        for way in (reference, ours):
            seconds, first = way(folder, pairs, options)
            rates.append(options.batch_size * (len(seconds) - 1) / sum(seconds[1:]))
            losses.append(first)
        apart = abs(losses[0] - losses[1]) / abs(losses[0])
        print(f"{workload:8} | {rates[0]:.2f} | {rates[1]:.2f} | {rates[1] / rates[0]:.2f} | {apart:.1e}")


def growth(folder: Path, arguments: argparse.Namespace) -> None:
    """Peak memory of runs over the same pairs in batches of each size, each in a process of its own."""
    peaks = []
    for batch in arguments.growth:
        command = [sys.executable, __file__, "--peak", str(batch), "--model", str(folder),
                   "--pairs", str(max(arguments.growth)), "--threads", str(arguments.threads),
                   "--chunk-tokens", str(arguments.chunk_tokens)]  # fmt: skip
        peaks.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        print(f"batch {batch}: peak {peaks[-1]} MB")
    print(f"growth: {100 * (peaks[-1] / peaks[0] - 1):.1f} %")


def peak(folder: Path, batch: int, number: int, chunk_tokens: int) -> None:
    """Prints the peak memory of a run over `number` pairs, each once, in megabytes."""
    options = TrainOptions(
        batch_size=batch, max_steps=number // batch, chunk_tokens=chunk_tokens, lora_dropout=0.0
    )
    backbone, adapter = loaded(folder, options)
    with tempfile.TemporaryDirectory() as out:
        parts = (pairs_of(Path(out), "a", number), backbone, adapter, MediaReader(MediaPolicy()))
        events = train(*parts, options, Path(out) / "run", base=str(folder), facts={})
        print(max(event["peak_memory_mb"] for event in events if event["event"] == "step"))


def main() -> None:
    """Reads the command line and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--chunk-tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workloads", default="abc")
    parser.add_argument("--growth", type=int, nargs="*", help="batch sizes; 64 and 1024 where none is given")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    memory.keep_freed(torch.device("cpu"))  # as the command does
    if arguments.peak:
        peak(arguments.model, arguments.peak, arguments.pairs, arguments.chunk_tokens)
        return
    print(head())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder)
        speeds(folder, arguments)
        if arguments.growth is not None:
            arguments.growth = arguments.growth or [64, 1024]
            growth(folder, arguments)


if __name__ == "__main__":
    main()
