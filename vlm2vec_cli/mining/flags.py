"""The options that only `mine-negatives` has; nothing heavy is loaded here."""

from typing import Annotated, Any, TypeAlias

from typer import Option

from vlm2vec_cli.mining import settings


def _number(help: str, **limits: Any) -> Any:
    return Option(metavar="N", help=help, **limits)


def _file(help: str) -> Any:
    return Option(metavar="FILE", help=help)


def _score(help: str) -> Any:
    return Option(metavar="X", help=help)


# Targets and what compares them
Method: TypeAlias = Annotated[settings.Method, Option(help="Near by vectors, by words, by label, or random.")]
Model: TypeAlias = Annotated[
    str | None,
    Option(
        "--model", "-m", metavar="MODEL", help="Embed with this model: a folder, a hub id, quickstart, tiny."
    ),
]
Vectors: TypeAlias = Annotated[
    str | None, _file("Vectors of the pairs' sides, made by embed; see above for how they are matched.")
]
Corpus: TypeAlias = Annotated[str | None, _file("Items or vectors to mine from; else the pairs' positives.")]
Across: TypeAlias = Annotated[bool, Option("--across-datasets", help="Mine from all datasets for each pair.")]
Backend: TypeAlias = Annotated[
    settings.Backend,
    Option(help="How the nearest are found; faiss is optional, and at the end of a window picks any equals."),
]
MediaIdentity: TypeAlias = Annotated[
    settings.MediaIdentity, Option(help="Pictures are the same by their bytes, or by their references.")
]
AllowMixed: TypeAlias = Annotated[
    bool, Option("--allow-mixed-fingerprints", help="Compare vectors of different models or settings.")
]

Cache: TypeAlias = Annotated[
    str | None,
    Option(metavar="DIR", help="Keep vectors of -m and --rescore here, by content and fingerprint."),
]

# What is never mined
SameDocument: TypeAlias = Annotated[
    settings.SameDocument, Option(help="Whether other pages of a positive's document may be mined.")
]
NearDuplicates: TypeAlias = Annotated[
    int | None,
    _number(
        "Nor pictures that differ from a positive's in at most N of 256 bits; 12 finds re-encoded ones.",
        min=0,
        max=settings.MOST_BITS,
    ),
]

# How many, and which
NumNegatives: TypeAlias = Annotated[int, _number("Negatives to mine for each pair.", min=1)]
RangeMin: TypeAlias = Annotated[int, _number("Skip this many of the nearest candidates.", min=0)]
RangeMax: TypeAlias = Annotated[
    int | None,
    _number(
        "Look no further than this rank; else range-min + 10 (1 without limits) x num-negatives + P.", min=1
    ),
]
MaxScore: TypeAlias = Annotated[float | None, _score("Skip candidates that score above X.")]
MinScore: TypeAlias = Annotated[float | None, _score("Skip candidates that score below X.")]
AbsoluteMargin: TypeAlias = Annotated[
    float | None, _score("Skip candidates that score above the positive's score - X.")
]
RelativeMargin: TypeAlias = Annotated[
    float | None, _score("Skip candidates that score above (1 - X) of the positive's score; 0.05 is 95 %.")
]
Rescore: TypeAlias = Annotated[
    str | None,
    Option(metavar="MODEL", help="A second model as judge: skip candidates it scores near the positive."),
]
RescoreMargin: TypeAlias = Annotated[
    float, _score("Near is above (1 - X) of the positive's score, by the judge.")
]
KeepPositivesBelow: TypeAlias = Annotated[
    float | None,
    _score("Pairs whose own positive scores below X stay, and are named in summary and audit."),
]
Sampling: TypeAlias = Annotated[settings.Sampling, Option(help="The nearest candidates, or any of them.")]
Replace: TypeAlias = Annotated[
    bool, Option("--replace", help="Drop the negatives that pairs have; else they come first.")
]
OnShort: TypeAlias = Annotated[
    settings.OnShort, Option(help="What pairs with fewer negatives do: stay, go, or take random ones.")
]

# Labels
LabelField: TypeAlias = Annotated[
    str, Option(metavar="FIELD", help="Where a pair's label stands, such as key or meta.predicate.")
]
NumNeighbors: TypeAlias = Annotated[int, _number("Nearest labels of each label.", min=1)]
Neighbors: TypeAlias = Annotated[
    str | None, _file('Use these neighbours: JSON {label: {"neighbors": [...], "scores": [...]}}.')
]
NeighborsOut: TypeAlias = Annotated[str | None, _file("Write the neighbours in that form.")]

Summary: TypeAlias = Annotated[
    str | None, _file("Write counts, scores and what each rule removed, as JSON, by dataset.")
]
GroupBatches: TypeAlias = Annotated[
    int | None,
    _number("Order rows so that each N in a row are near each other; `batch` numbers them.", min=2),
]
Audit: TypeAlias = Annotated[
    str | None,
    Option(metavar="FILE.html", help="Write the negatives that look most like answers, with pictures."),
]
AuditSize: TypeAlias = Annotated[int, _number("Negatives in the audit.", min=1)]
