r"""How fast `embed` turns items into vectors, against other ways to use the same weights.

    python tests/benchmarks/embed_speed.py --rows 4 --threads 1
    python tests/benchmarks/embed_speed.py --rows 16 --threads 1 2 --growth

The model is a Qwen2-VL of realistic proportions with random weights (130 million parameters, 78 of them the
token table), the data is made by the script. Workloads: a texts of mixed lengths, b pictures of mixed sizes
with a question each, c twelve questions on each picture, d clips of eight frames. Ways:

  reference  as VLM2Vec's evaluation: padded batches of 8 in arrival order, the language-model head over all
             positions, all hidden states
  stock      transformers' inner model: batches of 16 sorted by length, no head
  st         sentence-transformers on workload a, where it is installed; it has no layout for visuals of
             a model without a chat template. So that no other torch is brought along:
             pip install --no-deps --target DIR sentence-transformers==6.2.0 torchvision==0.28.0 \
               scikit-learn scipy joblib threadpoolctl narwhals \
               cloudpickle; PYTHONPATH=DIR:.
  ours       `vlm2vec_cli.encoder`, the whole way from rows to vectors

Each way runs in a process of its own, so that none has what another one set: how the C library keeps memory
is set by our program and is worth a sixth of the time.

`floor` is what the distinct tokens and patches need in arithmetic (attention included) over the rate of
float32 matrix products, measured right before and after the run that counts (`GFLOP/s`); `of floor` is
floor / ours. `wait` is the share of our time in which the model had to wait for prepared rows. All vectors
are compared with the reference's. `misses` names the figures that are not reached, of: ref/ours and best/ours
as in REACH, of floor 75 % (b, c), wait 5 %. The last line is the time from the start of the command to its
end on one row with `-m tiny`, and that of a program which only imports transformers' class of the model.

2026-12-01, x86_64 with AVX2, 2 CPUs, torch 2.13.0+cpu, transformers 5.24.0, nothing beside it, by
`python tests/benchmarks/embed_speed.py --rows 8 --threads 1 2 --repeats 2` with sentence-transformers 6.2.0:

    threads load rows reference stock   st  ours  ref/ours best/ours floor of floor wait GFLOP/s largest diff
          1 a      32     30.55  7.55 7.45  2.56     11.95      2.91  2.17      85%  0.2%     79      8.6e-08
          1 b       8     15.80  7.78  nan  4.21      3.76      1.85  3.34      79%  0.8%     74      1.6e-07
          1 c      24     34.10 21.07  nan  2.15     15.87      9.80  1.89      88%  1.4%     58      1.7e-07
          1 d       4      7.62  3.60  nan  2.71      2.81      1.32  1.97      72%  2.1%     76      1.4e-07
          2 a      32     21.72  4.26 4.50  1.60     13.57      2.66  1.35      84%  0.3%    127      8.6e-08
          2 b       8     10.18  4.64  nan  2.14      4.75      2.17  1.78      83%  1.2%    138      1.6e-07
          2 c      24     20.30 12.44  nan  1.30     15.64      9.59  1.08      83%  2.0%    101      1.7e-07
          2 d       4      3.62  1.94  nan  1.62      2.24      1.20  1.31      81%  3.3%    114      1.4e-07
    start-up to the first vector with tiny: 6.28 s; a program that only imports transformers' model: 7.62 s

Other processes on the host moved its rate by half within a run. Other runs of a gave 10.3 to 10.9 times
the reference, of b 2.4 to 3.7, of c 15.7 to 17.8, of d 2.2 to 2.8. On a faster machine, before commands ended
at once, the start-up took 4.6 to 4.8 s.

On that faster machine, with half as many clips, seconds and peak MiB of 1, 4 and 16 times the rows, by
`python tests/benchmarks/embed_speed.py --rows 4 --threads 1 --only-ours --repeats 1 --growth`:

    a    1.08   4.25  17.73     628    786    889
    b    1.77   6.81  25.29     706    974   1095
    c    0.89   2.79  11.27     657    792    886
    d    0.64   2.08   6.26     663    769    829
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from floor import flops, matmul_rate
from other_ways import padded, sentence_transformers
from setting import LIMITS, head, make_model
from start_up import start_up
from vlm2vec_cli import encoder
from vlm2vec_cli.media import MediaReader
from workloads import Row, make_rows

# At least so many times as fast as the reference, and as the best of the other ways.
REACH = {"a": (10.0, 1.2), "b": (2.2, 1.1), "c": (12.0, 4.0), "d": (1.8, 1.1)}
OF_FLOOR = {"b": 0.75, "c": 0.75}
MOST_WAITING = 0.05
NOT_RUN = float("nan")


# ------------------------------------------------------------------------------------- ways


def ours(model: Path, folder: Path, rows: list[Row]) -> tuple[Callable[[], np.ndarray], encoder.Encoder]:
    """The program's own way."""
    loaded = encoder.load(str(model), MediaReader(), device="cpu", dtype="float32", **_limits())

    def run() -> np.ndarray:
        inputs = (encoder.Input(row, folder, "") for row in rows)
        return np.stack([vector for vector in loaded.encode(inputs, _refuse) if vector is not None])

    return run, loaded


def _limits() -> dict[str, int]:
    return {"min_pixels": LIMITS.min_pixels, "max_pixels": LIMITS.max_pixels, "num_frames": LIMITS.num_frames}


def _refuse(error: Exception) -> None:
    raise error


# ---------------------------------------------------------------------------------- running


def one(way: str, workload: str, options: argparse.Namespace) -> None:
    """Measures one way in this process; prints what was found, keeps the vectors beside the pictures."""
    torch.set_num_threads(options.threads[0])
    clock = time.process_time if options.cpu_time else time.perf_counter
    rows = make_rows(options.folder, workload, options.rows)
    found: dict[str, float] = {"rows": len(rows)}
    if way == "ours":
        run, loaded = ours(options.model, options.folder, rows)
        needed = flops(loaded, options.folder, rows)
    elif way == "st":
        run = sentence_transformers(options.model, options.folder, rows)
    else:
        run = padded(options.model, options.folder, rows, way == "reference")
    for _ in range(options.repeats if run else 0):
        rate = matmul_rate(clock) if way == "ours" else 0.0
        start = clock()
        vectors = run()
        seconds = clock() - start
        if seconds < found.get("seconds", float("inf")):
            found["seconds"] = seconds
            if way == "ours":
                rate = (rate + matmul_rate(clock)) / 2
                found.update(rate=rate, floor=needed / rate, waited=loaded.waited)
        np.save(options.folder / f"{way}.npy", vectors)
    found["peak"] = _peak_mib()
    print(json.dumps(found))


def measured(
    way: str, workload: str, rows: int, threads: int, options: argparse.Namespace
) -> dict[str, float]:
    """What `one` finds in a process of its own, where no other way has set or cached anything."""
    command = [
        sys.executable, __file__, "--one", way, "--workloads", workload, "--rows", str(rows), "--threads",
        str(threads), "--repeats", str(options.repeats), "--model", str(options.model), "--folder",
        str(options.folder), *["--cpu-time"] * options.cpu_time,
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(options: argparse.Namespace) -> Iterator[str]:
    """Lines of the table."""
    yield (
        "threads load rows reference   stock      st    ours  ref/ours best/ours  floor of floor  wait "
        "GFLOP/s  largest diff  misses"
    )
    for threads in options.threads:
        for workload in options.workloads:
            own = measured("ours", workload, options.rows, threads, options)
            seconds = own["seconds"]
            others = dict.fromkeys(("reference", "stock", "st"), NOT_RUN)
            difference = NOT_RUN
            if not options.only_ours:
                for way in others:
                    found = measured(way, workload, options.rows, threads, options)
                    others[way] = found.get("seconds", NOT_RUN)
                plain, vectors = (np.load(options.folder / f"{way}.npy") for way in ("reference", "ours"))
                difference = float(np.abs(plain - vectors).max())
            known = [others[way] for way in ("stock", "st") if not np.isnan(others[way])]
            ratios = others["reference"] / seconds, min(known, default=NOT_RUN) / seconds
            of_floor, waiting = own["floor"] / seconds, own["waited"] / seconds
            reached = {
                "ref/ours": not ratios[0] < REACH[workload][0],
                "best/ours": not ratios[1] < REACH[workload][1],
                "of floor": of_floor >= OF_FLOOR.get(workload, 0.0),
                "wait": waiting < MOST_WAITING,
            }
            misses = ", ".join(name for name, good in reached.items() if not good) or "-"
            yield (
                f"{threads:7} {workload:4} {own['rows']:4}  {' '.join(f'{s:8.2f}' for s in others.values())} "
                f"{seconds:7.2f} {ratios[0]:9.2f} {ratios[1]:9.2f} {own['floor']:6.2f} {of_floor:8.0%} "
                f"{waiting:5.1%} {own['rate'] / 1e9:7.0f} {difference:13.1e}  {misses}"
            )


def grow(options: argparse.Namespace) -> Iterator[str]:
    """Time and peak memory of 1, 4 and 16 times the rows, with one thread."""
    yield "workload  times  rows  seconds  peak MiB"
    for workload in options.workloads:
        for times in (1, 4, 16):
            found = measured("ours", workload, times * options.rows, 1, options)
            yield (
                f"{workload:8}  {times:5}  {found['rows']:>4}  {found['seconds']:7.2f}  {found['peak']:8.0f}"
            )


def _peak_mib() -> float:
    """The most that this process held; what getrusage says begins with the peak of its parent."""
    status = Path("/proc/self/status")
    if status.is_file():
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(held.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=16, help="pictures of workload b; the others follow")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--workloads", nargs="+", default=list("abcd"), choices=list("abcd"))
    parser.add_argument("--repeats", type=int, default=2, help="runs of each way, of which the best counts")
    parser.add_argument("--only-ours", action="store_true", help="without the other ways")
    parser.add_argument(
        "--cpu-time", action="store_true",
        help="measure the process's CPU time, for a machine that others use, too",
    )  # fmt: skip
    parser.add_argument("--growth", action="store_true", help="also cost against the number of rows")
    parser.add_argument("--model", type=Path, help="keep the model in this folder between runs")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one, options.workloads[0], options)
    with tempfile.TemporaryDirectory() as scratch:
        options.folder = Path(scratch)
        options.model = options.model or options.folder / "model"
        if not (options.model / "config.json").is_file():
            options.model.mkdir(parents=True, exist_ok=True)
            make_model(options.model)
        print(head(), flush=True)
        for line in compare(options):
            print(line, flush=True)
        print(start_up(), flush=True)
        if options.growth:
            for line in grow(options):
                print(line, flush=True)


if __name__ == "__main__":
    main()
