"""What the command line asks of `score`, and the settings that follow from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from vlm2vec_cli import metrics
from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.scoring import predicates
from vlm2vec_cli.scoring.corpus import Ties
from vlm2vec_cli.scoring.files import Form
from vlm2vec_cli.scoring.matrix import Precision, Similarity
from vlm2vec_cli.scoring.per_query import NUM_CANDIDATES
from vlm2vec_cli.scoring.predicates import SceneGraph, read_names
from vlm2vec_cli.scoring.result import DEFAULT, NoRelevant, Settings
from vlm2vec_cli.streams import read_lines

RESCORED: Final = 100
"""How many candidates --rescore puts in order again where --rescore-depth does not say."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for; names and files are as typed."""

    metrics: Sequence[str] = ()
    main_metric: str | None = None
    similarity: Similarity = "cosine"
    ties: Ties = "id"
    no_relevant: NoRelevant = "exclude"
    bootstrap: int = 1000
    seed: int = 0
    top_k: int = 100
    allow_mixed: bool = False
    dims: Sequence[str] = ()
    precisions: Sequence[str] = ()
    rescore: Sequence[str] = ()
    rescore_depth: int | None = None
    scene_graph: bool = False
    novel: str | None = None
    ignored: Sequence[str] = ()
    candidates: Sequence[str] = ()
    results: Sequence[str] = ()
    qrels: str | None = None
    run: str | None = None
    rankings: str | None = None
    rankings_format: Form | None = None
    per_query: str | None = None


def variants(request: Request) -> list[Settings]:
    """The settings of each dimension and precision asked for; UsageError for names that are none."""
    settings = Settings(
        measures=_measures(request),
        main=_main_metric(request),
        similarity=request.similarity,
        ties=request.ties,
        no_relevant=request.no_relevant,
        resamples=request.bootstrap,
        seed=request.seed,
        keep=max(request.top_k if request.rankings else 0, NUM_CANDIDATES if request.per_query else 0),
        first_rank=request.per_query is not None,
        rescore=_rescore_depth(request),
        scene_graph=_scene_graph(request),
    )
    if settings.rescore is not None:
        settings = replace(settings, keep=min(settings.keep, settings.rescore))
    return _variants(settings, request)


def _rescore_depth(request: Request) -> int | None:
    """How many candidates are put in order again; None for none."""
    for path in request.rescore:
        if path.isdecimal() and not Path(path).exists():
            raise UsageError(
                f"--rescore: expected a file of float vectors, got {path!r}",
                hint=f"--rescore-depth {path} goes by the input's own whole vectors",
            )
    return request.rescore_depth or (RESCORED if request.rescore else None)


def _listed(values: Sequence[str]) -> list[str]:
    """Names from options that are repeated, hold several with commas between, or both."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _measures(request: Request) -> tuple[metrics.Measure, ...]:
    """Those over queries; those of scene graphs are in `SceneGraph.wanted`."""
    names = dict.fromkeys(_listed(request.metrics))
    own = [name for name in names if not (request.scene_graph and name.startswith(predicates.PREFIX))]
    return tuple(map(_parsed("--metrics"), own)) if names else DEFAULT


def _main_metric(request: Request) -> metrics.Measure | None:
    if request.main_metric is None or request.scene_graph:
        return None
    return _parsed("--main-metric")(request.main_metric)


def _scene_graph(request: Request) -> SceneGraph | None:
    if not request.scene_graph:
        if request.novel is not None or request.ignored:
            name = "--novel" if request.novel is not None else "--ignore"
            raise UsageError(f"{name} has a use only with --scene-graph")
        return None
    if _rescore_depth(request) is not None:
        raise UsageError("--rescore and --scene-graph exclude each other")
    lines = [] if request.novel is None else [line for _, line in read_lines(request.novel)]
    ignored = frozenset(_listed(request.ignored)) or frozenset({predicates.NO_RELATION})
    wanted = [name for name in _listed(request.metrics) if name.startswith(predicates.PREFIX)]
    main = request.main_metric or (wanted[0] if wanted else predicates.MAIN)
    return SceneGraph(read_names(lines), ignored, main, tuple(dict.fromkeys(wanted)))


def _variants(settings: Settings, request: Request) -> list[Settings]:
    """One for each dimension and precision asked for; rankings and per-query results are of one alone."""
    dims: list[int | None] = []
    for text in _listed(request.dims):
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"--dim: expected numbers above 0, got {text!r}", hint="such as --dim 1536,256")
        dims.append(int(text))
    precisions: list[Precision | None] = []
    for name in _listed(request.precisions):
        if name not in get_args(Precision):
            known = get_args(Precision)
            hint = nearest(name, known) or f"one of {', '.join(known)}"
            raise UsageError(f"--precision: unknown {name!r}", hint=hint)
        precisions.append(cast(Precision, name))
    if request.run is not None and (dims or precisions or _rescore_depth(request) is not None):
        raise UsageError("--dim, --precision and --rescore are for vectors, --run has none")
    variants = [
        replace(settings, dim=dim, precision=precision)
        for dim in dict.fromkeys(dims or [None])
        for precision in dict.fromkeys(precisions or [None])
    ]
    if len(variants) > 1 and (request.rankings or request.per_query):
        raise UsageError("--rankings and --per-query hold one dimension and precision at a time")
    return variants


def _parsed(option: str) -> Callable[[str], metrics.Measure]:
    def parse(name: str) -> metrics.Measure:
        try:
            return metrics.parse(name)
        except UsageError as error:
            if name.startswith(predicates.PREFIX):
                raise UsageError(error.fact, place=option, hint="--scene-graph measures those") from None
            raise error.at(option) from None

    return parse
