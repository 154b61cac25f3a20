"""How fast `prepare` turns MMEB-train rows into pairs, beside a plain loop that writes the same bytes.

    python tests/benchmarks/prepare_speed.py --rows 1000000

Makes its own data in a temporary folder: questions and answers of realistic length over `--pictures` picture
files, each row naming one. The loop takes a row at a time out of the Arrow table, as iterating a `datasets`
data set does, builds the pair and writes it with `json`; only `prepare` looks whether pictures exist. Both
run as processes of their own, one after the other; peak memory is the largest resident set of the process.

2026-11-23, x86_64, 2 CPUs, Python 3.11.7, load 1.3, the fastest of each by
`python tests/benchmarks/prepare_speed.py --repeat 3`:

                        seconds   CPU s      rows/s  peak MB
    plain loop             33.6    33.9      29,795      489
    prepare                 3.2     4.2     307,850      322   10.3 times as fast
    prepare, a tenth        1.3     1.5      78,392      287

2026-12-01, another machine of two CPUs, whose Python is faster, load 0.9, the fastest of each by
`--repeat 5`, with larger batches and fewer garbage collections (before them 9.7 times; 6.9 beside other
work, which slows two threads more than the loop's one):

    plain loop             18.6    19.0      53,750      485
    prepare                 1.8     2.4     557,140      394   10.4 times as fast
    prepare, a tenth        0.7     0.9     139,223      322
"""

import argparse
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")
WORDS = (
    "the",
    "red",
    "kettle",
    "stands",
    "on",
    "table",
    "near",
    "window",
    "and",
    "two",
    "dogs",
    "run",
    "what",
)
SHARD_ROWS = 100_000


def make(root: Path, rows: int, pictures: int) -> None:
    """A subset of `rows` rows over `pictures` files."""
    rng = random.Random(0)
    folder = root / "images" / "Speed" / "Train"
    folder.mkdir(parents=True)
    for number in range(pictures):
        (folder / f"Speed_image_{number}.jpg").touch()
    (root / "Speed").mkdir()
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with pq.ParquetWriter(root / "Speed" / "original-00000-of-00001.parquet", schema) as writer:
        for start in range(0, rows, SHARD_ROWS):
            listed = []
            for number in range(start, min(rows, start + SHARD_ROWS)):
                question = " ".join(rng.choices(WORDS, k=rng.randint(5, 15)))
                listed.append(
                    {
                        "qry": "<|image_1|>\nRepresent the given image with the following question: "
                        f'Why "{question}", née {number}?\n',
                        "qry_image_path": f"images/Speed/Train/Speed_image_{number % pictures}.jpg",
                        "pos_text": " ".join(rng.choices(WORDS, k=4)),
                        "pos_image_path": "",
                        "neg_text": rng.choice(WORDS),
                        "neg_image_path": "",
                    }
                )
            writer.write_table(pa.Table.from_pylist(listed, schema=schema))


def plain_loop(root: Path, out: Path) -> None:
    """Row by row: a dictionary out of the table, a pair, a line of JSON."""
    table = pq.read_table(root / "Speed" / "original-00000-of-00001.parquet", memory_map=True)
    with open(out, "w", encoding="utf-8") as stream:
        for number in range(table.num_rows):
            row = {name: column[0] for name, column in table.slice(number, 1).to_pydict().items()}
            query, positive, negative = {}, {}, {}
            for side, text, path in (
                (query, "qry", "qry_image_path"),
                (positive, "pos_text", "pos_image_path"),
                (negative, "neg_text", "neg_image_path"),
            ):
                if row[text]:
                    side["text"] = row[text].replace("<|image_1|>", "<image>")
                if row[path]:
                    side["image"] = row[path]
            pair = {
                "schema": "vlm2vec/pair@1",
                "id": str(number + 1),
                "dataset": "Speed",
                "query": query,
                "positive": positive,
                "negatives": [negative] if negative else [],
            }
            stream.write(json.dumps(pair, ensure_ascii=False, separators=(",", ":")) + "\n")


def measured(command: list[str], cwd: Path) -> tuple[float, float, float]:
    """Seconds, seconds of computing, and peak memory in MB, of a process."""
    os.sync()  # no run pays for what the one before it left to the disk
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_loop(*given.plain)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, given.rows, given.pictures)
        ours = [
            sys.executable,
            "-m",
            "vlm2vec_cli",
            "prepare",
            "mmeb-train",
            "--root",
            ".",
            "--subset",
            "Speed",
        ]
        commands = {
            "plain loop": [sys.executable, __file__, "--plain", ".", "plain.jsonl"],
            "prepare": [*ours, "-o", "ours.jsonl"],
            "prepare, a tenth": [*ours, "--limit", str(given.rows // 10), "-o", "tenth.jsonl"],
        }
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(given.repeat):  # in turns, so that what else the machine does falls on all alike
            for name, command in commands.items():
                (root / command[-1]).unlink(missing_ok=True)
                runs[name].append(measured(command, root))
        found = {name: min(ones) for name, ones in runs.items()}
        digests = {
            hashlib.sha256((root / f"{name}.jsonl").read_bytes()).hexdigest() for name in ("plain", "ours")
        }
        size = (root / "ours.jsonl").stat().st_size
    print(f"{datetime.now(timezone.utc):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs, "
          f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"{given.rows:,} rows, {given.pictures:,} pictures, {size / 1e6:.0f} MB written, "
          f"{'the same bytes' if len(digests) == 1 else 'DIFFERENT BYTES'}")  # fmt: skip
    print(f"{'':18}{'seconds':>9}{'CPU s':>8}{'rows/s':>12}{'peak MB':>9}")
    for name, (seconds, computing, memory) in found.items():
        rows = given.rows // 10 if "tenth" in name else given.rows
        print(f"{name:18}{seconds:9.1f}{computing:8.1f}{rows / seconds:12,.0f}{memory:9.0f}")
    ratios = [found["plain loop"][at] / found["prepare"][at] for at in (0, 1)]
    print(f"prepare is {ratios[0]:.1f} times as fast, {ratios[1]:.1f} times by CPU seconds")


if __name__ == "__main__":
    main()
