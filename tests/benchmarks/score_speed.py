"""How fast `score` and `report` are, beside the plainest code that does the same and beside their peers.

    python tests/benchmarks/score_speed.py                # 1,000 queries x 100,000 candidates x 1,536 numbers
    python tests/benchmarks/score_speed.py --size small   # a tenth of the candidates; tiny: a hundredth

Makes its own data and prints a table; about 6 GB of memory and 3 GB of temporary files at full size. Threads
are those that OMP_NUM_THREADS allows. pytrec_eval and ranx are compared with where they are installed.

The reference's way is measured three times, each beside our share of the same work: search and metrics in
memory; with its file of predictions, which holds every ranking whole and is not optional there (ours writes
the first 100); and from its pickled vectors to that file, beside our command from Parquet to score rows.

2026-12-01, x86_64, 2 cores, all threads, `python tests/benchmarks/score_speed.py`, numpy 2.4.6:

    what                                                              seconds  ratio
    bare float32 matmul, 1,000 x 100,000 x 1,536                        1.616
    score: search and 24 metrics                                        1.992  1.23 x the matmul
    the same, int8                                                      2.460  1.52 x the matmul
    the same, binary                                                    2.319  1.44 x the matmul
    reference's way: matrix, full sort, loops                          35.531  17.8 x score
    score, and the first 100 of each ranking written                    2.555
    reference's way, rankings written                                  67.343  26.4 x score
    `vlm2vec score --rankings`, files to files, 1,000 resamples         5.911
    reference's way, files to files                                    76.559  13.0 x score
    score, 1,000 rankings of 1,000, 6 metrics                           0.043
    pytrec_eval                                                         0.253  5.8 x score
    ranx, compiled                                                      0.141  3.3 x score
    1,000 resamples, 78 tasks x 1,000 queries, 24 metrics               0.700
    report of 78 tasks x 8 models, HTML of 1.09 MB                      0.479
    the same as text                                                    0.547
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from reference_scoring import plain, plain_files, written
from vlm2vec_cli import catalogue
from vlm2vec_cli.embedding import stored
from vlm2vec_cli.metrics import parse
from vlm2vec_cli.scoring import bootstrap, evaluate
from vlm2vec_cli.scoring.dataset import Dataset
from vlm2vec_cli.scoring.files import rankings_file
from vlm2vec_cli.scoring.judge import Judgements, values
from vlm2vec_cli.scoring.matrix import Budget, Matrix
from vlm2vec_cli.scoring.result import DEFAULT, Settings

Line = tuple[str, float, str]  # what, seconds, what they compare with

SIZES = {"full": 100_000, "small": 10_000, "tiny": 1_000}
QUERIES, DIM, DEPTH = 1000, 1536, 1000
METRICS = ("ndcg_cut_10", "map", "recip_rank", "P_10", "recall_100", "success_1")
RANX = ("ndcg@10", "map", "mrr", "precision@10", "recall@100", "hit_rate@1")


def timed(work: Callable[[], object], repeats: int = 3) -> float:
    """The best of a few runs, in seconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def matrix(rows: np.ndarray) -> Matrix:
    """The rows as `score` keeps them."""
    kept = Matrix(Budget(1 << 40), "cosine")
    kept.append(rows)
    return kept


def dataset(queries: np.ndarray, candidates: np.ndarray) -> Dataset:
    """Query i looks for candidate i."""
    made = Dataset("benchmark", "benchmark")
    made.ids = [f"c{at}" for at in range(len(candidates))]
    made.number = {name: at for at, name in enumerate(made.ids)}
    made.candidate_rows = {at: at for at in range(len(candidates))}
    made.query_ids = {f"q{at}": at for at in range(len(queries))}
    made.query_places = [""] * len(queries)
    made.relevant = [{at: 1.0} for at in range(len(queries))]
    made.pools = [None] * len(queries)
    made.query_vectors, made.candidate_vectors = matrix(queries), matrix(candidates)
    return made


def search(num_candidates: int) -> list[Line]:
    """The search and the metrics of MMEB, and the same for int8 and binary vectors."""
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((num_candidates, DIM), dtype=np.float32)
    queries = candidates[:QUERIES] + 3 * rng.standard_normal((QUERIES, DIM), dtype=np.float32)
    for rows in (queries, candidates):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = dataset(queries, candidates)
    settings = Settings(resamples=0)
    (task,) = evaluate.plan([made], settings)
    product = timed(lambda: queries @ candidates.T)
    ours = timed(lambda: evaluate.by_vectors(task, settings))
    shape = f"{QUERIES:,} x {num_candidates:,} x {DIM:,}"
    lines = [
        (f"bare float32 matmul, {shape}", product, ""),
        (f"score: search and {len(DEFAULT)} metrics", ours, f"{ours / product:.2f} x the matmul"),
    ]
    for kind in ("int8", "binary"):
        rounded = [np.stack([stored(row, kind) for row in side]) for side in (queries, candidates)]
        (other,) = evaluate.plan([dataset(*rounded)], settings)
        seconds = timed(lambda other=other: evaluate.by_vectors(other, settings))
        lines.append((f"the same, {kind}", seconds, f"{seconds / product:.2f} x the matmul"))
        del rounded, other
    found: dict[str, float] = {}
    theirs = timed(lambda: found.update(plain(queries, candidates, made.ids)), repeats=1)
    lines.append(("reference's way: matrix, full sort, loops", theirs, f"{theirs / ours:.1f} x score"))
    metrics = evaluate.by_vectors(task, settings).row()["metrics"]
    for name, value in found.items():
        assert abs(metrics[name] - value) < 2e-3, (name, metrics[name], value)  # float32 ties aside
    keeping = replace(settings, keep=100)

    def with_rankings(path: Path) -> None:
        with rankings_file(str(path), "jsonl", [task], 100) as take:
            take(evaluate.by_vectors(task, keeping))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = timed(lambda: with_rankings(folder / "rankings.jsonl"))
        lines.append(("score, and the first 100 of each ranking written", ours, ""))
        with (folder / "task_pred.jsonl").open("w") as out:
            theirs = timed(lambda: plain(queries, candidates, made.ids, out), repeats=1)
        lines.append(("reference's way, rankings written", theirs, f"{theirs / ours:.1f} x score"))
        written(folder, queries, candidates, made.ids)
        command = [sys.executable, "-m", "vlm2vec_cli", "score", "-q", str(folder / "vectors.parquet")]
        command += ["--rankings", str(folder / "rankings.jsonl"), "-o", str(folder / "scores.jsonl")]
        ours = timed(lambda: subprocess.run(command, check=True), repeats=2)
        lines.append(("`vlm2vec score --rankings`, files to files, 1,000 resamples", ours, ""))
        theirs = timed(lambda: plain_files(folder), repeats=1)
        lines.append(("reference's way, files to files", theirs, f"{theirs / ours:.1f} x score"))
    return lines


def metric_part() -> list[Line]:
    """The same graded rankings for all, each in the form that it takes; means over queries come out equal."""
    rng = np.random.default_rng(1)
    ranked = np.stack([rng.permutation(5 * DEPTH)[:DEPTH] for _ in range(QUERIES)])
    relevant = [
        {int(at): float(rng.integers(1, 4)) for at in rng.choice(5 * DEPTH, 30, replace=False)}
        for _ in range(QUERIES)
    ]
    measures = tuple(map(parse, METRICS))

    def ours() -> np.ndarray:
        judged = Judgements(relevant).judge(np.arange(QUERIES), ranked, DEPTH, unique=True)
        return values(measures, judged)

    rows = [(f"score, {QUERIES:,} rankings of {DEPTH:,}, {len(METRICS)} metrics", seconds := timed(ours), "")]
    means = dict(zip(METRICS, ours().mean(axis=0), strict=True))
    qrels = {f"q{q}": {f"c{at}": int(gain) for at, gain in gains.items()} for q, gains in enumerate(relevant)}
    run = {
        f"q{q}": {f"c{at}": float(DEPTH - rank) for rank, at in enumerate(row)}
        for q, row in enumerate(ranked)
    }
    try:
        import pytrec_eval
    except ImportError:
        print("pytrec_eval is not installed", file=sys.stderr)
    else:
        names = {name.rpartition("_")[0] if name[-1].isdigit() else name for name in METRICS}
        judge = pytrec_eval.RelevanceEvaluator(qrels, names)
        theirs = timed(lambda: judge.evaluate(run))
        found = judge.evaluate(run)
        for name in METRICS:
            assert abs(np.mean([one[name] for one in found.values()]) - means[name]) < 1e-9, name
        rows.append(("pytrec_eval", theirs, f"{theirs / seconds:.1f} x score"))
    try:
        import ranx
    except ImportError:
        print("ranx is not installed", file=sys.stderr)
    else:
        judged, ranking = ranx.Qrels(qrels), ranx.Run(run)
        found = ranx.evaluate(judged, ranking, list(RANX), make_comparable=False)  # compiles
        theirs = timed(lambda: ranx.evaluate(judged, ranking, list(RANX), make_comparable=False))
        for name, peer in zip(METRICS, RANX, strict=True):
            assert abs(found[peer] - means[name]) < 1e-6, name
        rows.append(("ranx, compiled", theirs, f"{theirs / seconds:.1f} x score"))
    return rows


def resampling() -> list[Line]:
    """The intervals of all metrics of 78 tasks."""
    rng = np.random.default_rng(3)
    tasks = [rng.random((1000, len(DEFAULT))) for _ in range(78)]
    seconds = timed(lambda: [bootstrap.intervals(one, 1000, rng) for one in tasks])
    return [(f"1,000 resamples, 78 tasks x 1,000 queries, {len(DEFAULT)} metrics", seconds, "")]


def report() -> list[Line]:
    """The whole command for 78 tasks and 8 models, as HTML and as text."""
    rng, rows = np.random.default_rng(2), []
    metrics = [measure.name for measure in DEFAULT]
    with tempfile.TemporaryDirectory() as folder:
        scores, page = Path(folder, "scores.jsonl"), Path(folder, "report.html")
        with scores.open("w") as out:
            for model in range(8):
                for name, entry in catalogue.tasks().items():
                    found = {metric: float(rng.random()) for metric in metrics}
                    row = {"dataset": name, "model": f"model-{model}", "main_metric": entry["main_metric"]}
                    row |= {"main_score": found[entry["main_metric"]], "metrics": found, "num_queries": 1000}
                    row["ci95"] = {one: [value * 0.9, value] for one, value in found.items()}
                    out.write(json.dumps(row) + "\n")
        command = [sys.executable, "-m", "vlm2vec_cli", "report", str(scores)]
        html = timed(lambda: subprocess.run([*command, "-o", str(page)], check=True))
        text = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        size = page.stat().st_size / 1e6
    rows.append((f"report of 78 tasks x 8 models, HTML of {size:.2f} MB", html, ""))
    rows.append(("the same as text", text, ""))
    return rows


def main() -> None:
    """Runs everything and prints Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="full")
    size = parser.parse_args().size
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {threads} threads,")
    print(f"`python tests/benchmarks/score_speed.py --size {size}`, numpy {np.__version__}\n")
    print("| what | seconds | ratio |\n| :-- | --: | :-- |")
    for part in (lambda: search(SIZES[size]), metric_part, resampling, report):
        for what, seconds, ratio in part():
            print(f"| {what} | {seconds:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
