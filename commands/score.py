"""Vectors, or rankings of another tool, become score rows."""

from typing import Annotated, Any, Literal

from typer import Option

from vlm2vec_cli import options
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.streams import Session

Form = Literal["jsonl", "parquet", "trec"]
NoRelevant = Literal["exclude", "zero", "error"]
Ties = Literal["id", "optimistic", "pessimistic"]


def _(metavar: str, help: str, least: int | None = None) -> Any:
    return Option(metavar=metavar, help=help, min=least)


def main(
    inputs: options.Inputs = None,
    metrics: Annotated[
        list[str] | None, _("NAMES", "Such as hit@1,nDCG@5,RR@10,map; sgg_recall@20 with --scene-graph.")
    ] = None,
    main_metric: Annotated[str | None, _("NAME", "The metric of main_score.")] = None,
    similarity: Annotated[Literal["cosine", "dot"], Option(help="How vectors are compared.")] = "cosine",
    ties: Annotated[Ties, Option(help="First among equals: the larger id, the relevant, the others.")] = "id",
    no_relevant: Annotated[NoRelevant, Option(help="What queries without anything relevant do.")] = "exclude",
    candidates: Annotated[list[str] | None, _("FILE", "More vectors, all of them candidates.")] = None,
    results: Annotated[
        list[str] | None, _("PATH", "Finished scores of the MMEB evaluation or of mteb: file or folder.")
    ] = None,
    qrels: Annotated[str | None, _("FILE", "Judgements instead of those in the rows: TREC or TSV.")] = None,
    run: Annotated[
        str | None, _("FILE", "Rankings, not vectors: TREC, ranking rows, *_pred.jsonl or a folder of those.")
    ] = None,
    rankings: Annotated[str | None, _("FILE", "Write rankings: .jsonl, .parquet, .trec.")] = None,
    rankings_format: Annotated[Form | None, Option(help="Where the suffix does not say.")] = None,
    top_k: Annotated[int, _("N", "Candidates a query in --rankings.", 1)] = 100,
    per_query: Annotated[
        str | None, _("FILE", "Write each query's metrics and top candidates: Parquet.")
    ] = None,
    bootstrap: Annotated[int, _("N", "Resamples of the queries for 95 % intervals; 0 for none.", 0)] = 1000,
    dim: Annotated[
        list[str] | None, _("N,...", "Score the first N numbers of the vectors, a row a dataset for each N.")
    ] = None,
    precision: Annotated[
        list[str] | None, _("NAMES", "Score vectors rounded as embed does: float32,int8,binary.")
    ] = None,
    rescore: Annotated[
        list[str] | None,
        _("FILE", "Float vectors of the same rows, file or folder: put the first candidates in order again."),
    ] = None,
    rescore_depth: Annotated[
        int | None, _("N", "How many; without --rescore the whole vectors of the input do it. [100]", 1)
    ] = None,
    scene_graph: Annotated[
        bool, Option("--scene-graph", help="Recall@K of relations: rank all pairs of an `image_id` together.")
    ] = False,
    novel: Annotated[
        str | None, _("FILE", "Predicates to judge apart, too; else those whose rows say `novel`.")
    ] = None,
    ignore: Annotated[
        list[str] | None, _("NAMES", "Predicates that --scene-graph does not rank; else: no relation.")
    ] = None,
    allow_mixed_fingerprints: Annotated[
        bool, Option("--allow-mixed-fingerprints", help="Compare vectors of different models or settings.")
    ] = False,
    output: options.Output = "-",
    format: Annotated[
        str | None,
        _(
            "NAME",
            "Where the suffix does not say: jsonl, parquet, mteb (-o FOLDER), or trec (of --rankings).",
        ),
    ] = None,
    on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None,
    allow_rejects: options.AllowRejects = 0,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    media_root: options.MediaRoot = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Score vectors: rank the candidates of each query, exactly, and write one row a dataset.

    A query ranks its own pool where it has one, else all candidates of its dataset. Equal scores stand by id,
    descending, as in trec_eval: what is relevant never wins by its place. Metrics (hit, precision, recall,
    f1, map, ap, mrr, ndcg_linear, ndcg_exponential) may be named as in ir-measures or trec_eval; default:
    those of MMEB at 1, 5 and 10. The main one is that of the rows, else of the catalogue, else hit@1. A
    candidate that a pool holds twice is ranked twice; as in MMEB's evaluation map and nDCG count both.

    All rows are read before scoring starts. Memory: vectors as they came (float32: 4 x rows x dimensions
    bytes) up to 1 GB, beyond that in a temporary file; 8,192 x dimensions x 12 bytes and 100 MB for a block;
    ids, pools and judgements; 12 bytes x queries x --top-k with --rankings; texts and references with
    --per-query.

    Vectors stored as int8 or binary are compared as such, in exact integer arithmetic. With --dim or
    --precision a dataset has a row for each; --scene-graph needs `image_id` in query rows, and measures
    sgg_[ng_]KIND[_base|_novel]@K at any K, where KIND is recall, image_recall or mean_recall: ng_ lets a pair
    of objects have several predicates.

    Examples:
      vlm2vec score vectors.parquet --dim 1536,256 --precision float32,binary -o scores.jsonl

      vlm2vec score --run bm25.trec --qrels qrels.tsv --metrics nDCG@10,R@100
    """
    from vlm2vec_cli.scoring import Request, score, write_mteb

    if format == "trec":
        if rankings is None:
            raise UsageError("--format trec is of rankings", hint="add --rankings FILE")
        format, rankings_format = None, rankings_format or "trec"
    mteb = format == "mteb"
    session = Session(inputs, "-" if mteb else output, format=None if mteb else format, on_error=on_error,
                      rejects=rejects, allow_rejects=allow_rejects, limit=limit, media_root=media_root,
                      quiet=quiet)  # fmt: skip
    request = Request(metrics=metrics or (), main_metric=main_metric, similarity=similarity, ties=ties,
                      no_relevant=no_relevant, candidates=candidates or (), qrels=qrels, run=run, seed=seed,
                      rankings=rankings, rankings_format=rankings_format, top_k=top_k, per_query=per_query,
                      bootstrap=bootstrap, allow_mixed=allow_mixed_fingerprints, dims=dim or (),
                      precisions=precision or (), rescore=rescore or (), rescore_depth=rescore_depth,
                      scene_graph=scene_graph, novel=novel, ignored=ignore or (),
                      results=results or ())  # fmt: skip
    with session:
        rows = score(session, request, has_inputs=bool(inputs))
        if mteb:
            write_mteb(session, rows, output)
        else:
            session.write(rows, SCORE)
