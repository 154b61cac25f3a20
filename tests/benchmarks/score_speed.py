"""How fast `score` and `report` are, beside the plainest code that does the same and beside their peers.

    python tests/benchmarks/score_speed.py                # 1,000 queries x 100,000 candidates x 1,536 numbers
    python tests/benchmarks/score_speed.py --size small   # a tenth of the candidates

Makes its own data and prints a table; about 3 GB of memory and some minutes at full size. Threads are those
that OMP_NUM_THREADS allows. pytrec_eval and ranx are compared with where they are installed.
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
from datetime import date
from pathlib import Path
from typing import TextIO

import numpy as np

from vlm2vec_cli import catalogue
from vlm2vec_cli.metrics import parse
from vlm2vec_cli.scoring import evaluate
from vlm2vec_cli.scoring.collect import Dataset
from vlm2vec_cli.scoring.judge import Judgements, values
from vlm2vec_cli.scoring.matrix import Budget, Matrix
from vlm2vec_cli.scoring.result import DEFAULT, Settings

SIZES = {"full": 100_000, "small": 10_000}
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
    """The rows as `score` keeps them; written at once, which tests hold equal to row by row."""
    kept = Matrix(Budget(1 << 40), "cosine")
    kept.append(rows[0])
    kept._file.write(rows[1:].tobytes())
    kept.num_rows, kept.all_equal = len(rows), False
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


def plain(
    queries: np.ndarray, candidates: np.ndarray, ids: list[str], rankings: TextIO | None = None
) -> dict[str, float]:
    """One matrix of scores, every row sorted whole, a loop over queries, metrics and cutoffs.

    With `rankings` every ranking is also written whole, as the reference does beside its scores.
    """
    order = np.argsort(-(queries @ candidates.T), axis=1)
    sums: dict[str, float] = {}
    for query, row in enumerate(order):
        ranked, gold = [ids[at] for at in row], {ids[query]}
        if rankings is not None:
            rankings.write(json.dumps({"prediction": ranked, "label": list(gold)}) + "\n")
        for k in (1, 5, 10):
            hits = [one in gold for one in ranked[:k]]
            found = len(set(ranked[:k]) & gold)
            gains = sum(hit / np.log2(rank + 2) for rank, hit in enumerate(hits))
            precisions = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits) if hit]
            first = next((1 / (at + 1) for at, hit in enumerate(hits) if hit), 0.0)
            for name, value in {
                "hit": any(hits),
                "precision": found / k,
                "recall": found / len(gold),
                "f1": 2 * found / (k + len(gold)),
                "map": sum(precisions) / min(len(gold), k),
                "mrr": first,
                "ndcg_linear": gains,
                "ndcg_exponential": gains,
            }.items():
                sums[f"{name}@{k}"] = sums.get(f"{name}@{k}", 0.0) + float(value)
    return {name: total / len(queries) for name, total in sums.items()}


def search(num_candidates: int) -> list[tuple[str, float, float | None]]:
    """Seconds, and what they are compared with."""
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
    found: dict[str, float] = {}
    theirs = timed(lambda: found.update(plain(queries, candidates, made.ids)), repeats=1)
    with open(os.devnull, "w") as nowhere:
        written = timed(lambda: plain(queries, candidates, made.ids, nowhere), repeats=1)
    metrics = evaluate.by_vectors(task, settings).row()["metrics"]
    for name, value in found.items():
        assert abs(metrics[name] - value) < 2e-3, (name, metrics[name], value)  # float32 ties aside
    shape = f"{QUERIES:,} x {num_candidates:,} x {DIM:,}"
    return [
        (f"bare float32 matmul, {shape}", product, None),
        (f"score: search and {len(DEFAULT)} metrics", ours, ours / product),
        ("one matrix, full sort, Python loop", theirs, theirs / ours),
        ("the same, every ranking written whole", written, written / ours),
    ]


def metric_part() -> list[tuple[str, float, float | None]]:
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

    rows = [
        (f"score, {QUERIES:,} rankings of {DEPTH:,}, {len(METRICS)} metrics", seconds := timed(ours), None)
    ]
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
        rows.append(("pytrec_eval", theirs, theirs / seconds))
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
        rows.append(("ranx, compiled", theirs, theirs / seconds))
    return rows


def report() -> list[tuple[str, float, float | None]]:
    """The whole command for 78 tasks and 8 models, as HTML and as text."""
    rng, rows = np.random.default_rng(2), []
    metrics = [f"{name}@{k}" for name in ("hit", "recall", "mrr", "ndcg_linear") for k in (1, 5, 10)]
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
    rows.append((f"report of 78 tasks x 8 models, HTML of {size:.2f} MB", html, None))
    rows.append(("the same as text", text, None))
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
    notes = {1: "of the matmul", 2: "of score", 3: "of score"}
    for at, (what, seconds, ratio) in enumerate(search(SIZES[size])):
        print(f"| {what} | {seconds:.3f} |{f' {ratio:.2f} x {notes[at]}' if ratio else ''} |", flush=True)
    for what, seconds, ratio in metric_part() + report():
        print(f"| {what} | {seconds:.3f} |{f' {ratio:.1f} x of score' if ratio else ''} |", flush=True)


if __name__ == "__main__":
    main()
