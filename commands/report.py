"""Scores -> what people and build servers read."""

import shlex
import sys

from vlm2vec_cli import options, streams
from vlm2vec_cli.reporting import options as own


def main(
    inputs: options.Inputs = None,
    output: options.Output = "-",
    format: own.Format = None,
    title: own.Title = None,
    baseline: own.Baseline = None,
    gate: own.Gate = False,
    minimum: own.Min = None,
    max_drop: own.MaxDrop = None,
    tolerance_file: own.ToleranceFile = None,
    allow_missing: own.AllowMissing = False,
    allow_unequal: own.AllowUnequal = False,
    group_by: own.GroupBy = None,
    significant: own.Significant = False,
    per_query: own.PerQuery = None,
    examples: own.Examples = 3,
    plot: own.Plot = None,
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
    """Turn score rows into a report: text, Markdown, HTML, CSV, LaTeX, JSON or JUnit.

    Several models, or sizes of one, stand side by side; of two, the second is compared with the first. Every
    mean says over how many tasks it is, and missing tasks of MMEB-V2 are named. The HTML page is one file
    without outside resources; with --per-query it shows hits and misses.

    Examples:
      vlm2vec report untrained.jsonl trained.jsonl -o report.html

      vlm2vec report scores.jsonl --baseline published:VLM2Vec-V2.0-Qwen2VL-2B --gate --max-drop 2%
    """
    from vlm2vec_cli.reporting import compose, run

    wishes = compose.Wishes(
        title=title,
        limits=compose.limits(minimum or [], max_drop or [], tolerance_file, wanted=gate),
        gate=gate,
        significant=significant,
        allow_missing=allow_missing,
        allow_unequal=allow_unequal,
        group_by=group_by or (),
        seed=seed,
        command=shlex.join(["vlm2vec", *sys.argv[1:]]),
    )
    with streams.Session(
        inputs,
        output,
        natural="text",
        format=format,
        formats=own.FORMATS,
        on_error=on_error,
        rejects=rejects,
        allow_rejects=allow_rejects,
        limit=limit,
        media_root=media_root,
        quiet=quiet,
    ) as session:
        sources = run.Sources(baseline or [], per_query or [])
        pictures = run.Pictures(media_root, trust_paths, allow_remote, examples)
        result = run.report(session, wishes, sources, pictures, plot_file=plot)
    run.raise_verdict(result)
