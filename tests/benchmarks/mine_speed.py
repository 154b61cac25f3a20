"""How fast mining is, and how much memory it takes: against a plain matrix product, a peer, and more targets.

    python tests/benchmarks/mine_speed.py search --queries 100000 --targets 1000000
    python tests/benchmarks/mine_speed.py peer --queries 20000 --targets 100000
    python tests/benchmarks/mine_speed.py growth --queries 10000 --targets 50000

search   the whole command, its search alone, and the product of all queries with all targets in blocks
peer     sentence-transformers' mine_hard_negatives, which is given vectors in memory; the command from where
         it has read them; and the whole command, same vectors and options (pip install ".[peers]")
growth   the whole command with 1, 4 and 16 times the targets

Every measurement is a process of its own, with as many threads as --threads says; memory is its largest
resident set, which counts pages of mapped files too. One file, since that process runs it again by its name.
On a busy machine compare processor seconds. Vectors are random: of clusters, so that there is something
near, and of length 1.

2026-12-01, x86_64, 2 threads on 2 processors, sentence-transformers 5.7.0,
`python tests/benchmarks/mine_speed.py peer --queries 20000 --targets 100000 --repeat 4`:

    measured | seconds | processor seconds | GB   | ratios to the first
    peer     |    15.8 |              27.7 | 7.24 | 1.00, 1.00, 1.00
    mining   |     7.5 |              14.2 | 0.51 | 0.48, 0.51, 0.07
    command  |    10.0 |              16.7 | 0.52 | 0.64, 0.60, 0.07

The same day and machine, `python tests/benchmarks/mine_speed.py search --queries 100000 --targets 1000000`:

    product  |   329.2 |             651.8 | 1.37 | 1.00, 1.00, 1.00
    search   |   316.8 |             626.8 | 1.37 | 0.96, 0.96, 1.00
    command  |   363.3 |             680.5 | 2.43 | 1.10, 1.04, 1.77

and `python tests/benchmarks/mine_speed.py growth --queries 10000 --targets 50000`:

    50,000 targets  |  5.0 |   7.0 | 0.40 | 1.00, 1.00, 1.00
    200,000 targets | 13.8 |  21.0 | 0.69 | 2.77, 2.98, 1.73
    800,000 targets | 53.9 |  76.7 | 1.94 | 10.83, 10.89, 4.84
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"relative_margin": 0.05, "num_negatives": 3}
BLOCK = 4096
Spent = tuple[float, float]


# ------------------------------------------------------------------------------------------------ data


def make(folder: Path, num_queries: int, num_targets: int, dim: int) -> None:
    """Writes queries.npy, targets.npy, pairs.jsonl, and both sides as Parquet vectors."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(1, num_targets // 50), dim), dtype=np.float32)
    targets = np.lib.format.open_memmap(folder / "targets.npy", "w+", np.float32, (num_targets, dim))
    for low in range(0, num_targets, BLOCK):
        part = targets[low : low + BLOCK]
        part[:] = centres[random.integers(len(centres), size=len(part))]
        part += random.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    answers = random.permutation(num_targets)[:num_queries]
    queries = targets[answers] + 0.5 / dim**0.5 * random.standard_normal((num_queries, dim), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    np.save(folder / "queries.npy", queries)
    write_vectors(folder / "queries.parquet", "query", "q", queries)
    write_vectors(folder / "targets.parquet", "candidate", "t", targets)
    with open(folder / "pairs.jsonl", "w") as file:
        for number, answer in enumerate(answers):
            row = {
                "id": f"{number:08}",
                "query": {"text": f"q {number}"},
                "positive": {"text": f"t {answer}"},
            }
            file.write(json.dumps(row) + "\n")


def write_vectors(path: Path, role: str, letter: str, vectors: Any) -> None:
    """The rows as `embed` would have written them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim = vectors.shape[1]
    strings = [(name, pa.string()) for name in ("id", "role", "text")]
    schema = pa.schema(
        [*strings, ("embedding", pa.list_(pa.float32(), dim))],
        metadata={b"vlm2vec": b'{"schema": "vlm2vec/vector@1", "fingerprint": "benchmark"}'},
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for low in range(0, len(vectors), 1024):
            part = np.ascontiguousarray(vectors[low : low + 1024])
            numbers = range(low, low + len(part))
            flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), dim)
            columns = [
                [f"{one:08}" for one in numbers],
                [role] * len(part),
                [f"{letter} {one}" for one in numbers],
            ]
            writer.write_batch(pa.record_batch([*map(pa.array, columns), flat], schema=schema))


# ---------------------------------------------------------------------------------------- what is measured


def clock() -> Spent:
    """Now, in seconds and processor seconds."""
    return time.perf_counter(), time.process_time()


def since(start: Spent) -> Spent:
    """What has passed."""
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def product(folder: Path) -> Spent:
    """Seconds for all scores, thrown away."""
    queries, targets = np.load(folder / "queries.npy"), np.load(folder / "targets.npy", mmap_mode="r")
    start = clock()
    for low in range(0, len(queries), BLOCK):
        for first in range(0, len(targets), BLOCK):
            queries[low : low + BLOCK] @ targets[first : first + BLOCK].T
    return since(start)


def search(folder: Path) -> Spent:
    """Seconds for the exact nearest of every query, as many as the command asks for."""
    from vlm2vec_cli.mining.settings import Settings
    from vlm2vec_cli.nearest import Rows, parallel_top_k, query_rows

    queries, targets = np.load(folder / "queries.npy"), np.load(folder / "targets.npy", mmap_mode="r")
    k = Settings(vectors="", **OPTIONS).resolved_range_max(1) + 1
    start = clock()
    rows = Rows(targets)
    for low in range(0, len(queries), query_rows(k)):
        parallel_top_k(queries[low : low + query_rows(k)], rows, k)
    return since(start)


def command(folder: Path) -> Spent:
    """Seconds for `vlm2vec mine-negatives` from files to a file."""
    from vlm2vec_cli import app

    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    files = {
        name: str(folder / name)
        for name in ("pairs.jsonl", "queries.parquet", "targets.parquet", "mined.jsonl")
    }
    sys.argv = [
        "vlm2vec", "mine-negatives", files["pairs.jsonl"], "--vectors", files["queries.parquet"],
        "--corpus", files["targets.parquet"], "-o", files["mined.jsonl"], "-q", *options,
    ]  # fmt: skip
    start = clock()
    try:
        app.run()
    except SystemExit as ended:
        if ended.code:
            raise
    return since(start)


def mining(folder: Path) -> Spent:
    """The same from where the vectors are in place, as the peer has them, to where the rows are written."""
    from vlm2vec_cli.mining import run

    starts: list[Spent] = []
    living_offers = run.Run._living_offers

    def started(self: run.Run, corpus: Any) -> Any:
        starts.append(clock())
        return living_offers(self, corpus)

    # Wrapped, not replaced: the clock is read where reading ends and the search begins.
    run.Run._living_offers = started  # type: ignore[method-assign]
    command(folder)
    return since(starts[0])


def peer(folder: Path) -> Spent:
    """Seconds for sentence-transformers' miner, its data in memory."""
    import torch
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    queries, targets = np.load(folder / "queries.npy"), np.load(folder / "targets.npy")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    data = {side: [row[side]["text"] for row in rows] for side in ("query", "positive")}

    def taken(vectors: Any) -> Callable[..., Any]:
        return lambda texts, **_: vectors[[int(text[2:]) for text in texts]]

    def tensor(vectors: Any) -> Any:
        return torch.from_numpy(vectors) if isinstance(vectors, np.ndarray) else vectors

    stub = SimpleNamespace(
        device=torch.device("cpu"), prompts={}, model_card_data=SimpleNamespace(base_model=""),
        encode_query=taken(queries), encode_document=taken(targets),
        similarity=lambda left, right: tensor(left) @ tensor(right).T,
        similarity_pairwise=lambda left, right: (tensor(left) * tensor(right)).sum(-1),
        get_embedding_dimension=lambda: queries.shape[1],
    )  # fmt: skip
    start = clock()
    mine_hard_negatives(
        Dataset.from_dict(data), stub, corpus=[f"t {number}" for number in range(len(targets))],
        output_format="labeled-list", verbose=False, **OPTIONS,
    )  # fmt: skip
    return since(start)


MEASURED = {"product": product, "search": search, "mining": mining, "command": command, "peer": peer}


# ------------------------------------------------------------------------------------------------ running


def measure(name: str, folder: Path, threads: int) -> tuple[float, float, float]:
    """Seconds, processor seconds and gigabytes of one thing, in a process of its own."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **dict.fromkeys(limits, str(threads)), "PYTHONPATH": paths}
    asked = [sys.executable, __file__, "one", name, str(folder)]
    done = subprocess.run(asked, env=environment, stdout=subprocess.PIPE, check=True)
    seconds, processor, kilobytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, processor, kilobytes / 1e6


def one(name: str, folder: Path) -> None:
    """What a process of its own does."""
    print(json.dumps([*MEASURED[name](folder), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


def table(rows: list[tuple[str, tuple[float, float, float]]]) -> None:
    """What was measured, and how often it takes what the first row took."""
    print("| measured | seconds | processor seconds | GB | ratios to the first |\n|---|---|---|---|---|")
    for name, numbers in rows:
        ratios = ", ".join(f"{own / first:.2f}" for own, first in zip(numbers, rows[0][1], strict=True))
        print(f"| {name} | {numbers[0]:.1f} | {numbers[1]:.1f} | {numbers[2]:.2f} | {ratios} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["search", "peer", "growth"])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--targets", type=int, default=20000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=1, help="the fastest of so many is shown")
    asked = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, {asked.threads} threads on {os.cpu_count()} processors")
    print(f"$ {' '.join(['python', *sys.argv])}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: list[tuple[str, tuple[float, float, float]]] = []

        def add(label: str, name: str) -> None:
            rows.append((label, min(measure(name, folder, asked.threads) for _ in range(asked.repeat))))

        for times in (1, 4, 16) if asked.what == "growth" else (1,):
            make(folder, asked.queries, asked.targets * times, asked.dim)
            if asked.what == "growth":
                add(f"{asked.targets * times} targets", "command")
                continue
            for name in (
                ("product", "search", "command") if asked.what == "search" else ("peer", "mining", "command")
            ):
                add(name, name)
        table(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
