"""The options that only `report` has. Imports nothing heavy: the command's help reads this file."""

from typing import Annotated

from typer import Option

FORMATS = ("text", "md", "html", "csv", "latex", "json", "junit")

Format = Annotated[
    str | None,
    Option(metavar="NAME", help=f"Output format where the file's suffix does not say: {', '.join(FORMATS)}."),
]
Title = Annotated[str | None, Option(metavar="TEXT", help="The heading of the report.")]
Baseline = Annotated[
    list[str] | None,
    Option(
        metavar="FILE|published:NAME",
        help="Scores to compare with; repeatable. A published name may end in @VERSION.",
    ),
]
Gate = Annotated[bool, Option("--gate", help="Check the thresholds below; exit with 1 when one is missed.")]
Min = Annotated[
    list[str] | None,
    Option(
        "--min",
        metavar="NAME=VALUE",
        help="Least value of a dataset, a dataset:metric, or a mean such as image, I-CLS or overall;"
        " repeatable. VALUE is 0.55 or 55%.",
    ),
]
MaxDrop = Annotated[
    list[str] | None,
    Option(
        metavar="[NAME=]VALUE",
        help="Largest drop under the baseline, of every dataset or of the one or the mean named; repeatable."
        " VALUE is 0.01 (absolute) or 2% (of the baseline's value).",
    ),
]
ToleranceFile = Annotated[
    str | None,
    Option(metavar="TOML", help="Thresholds in tables [min] and [max-drop]; options replace them by name."),
]
AllowMissing = Annotated[
    bool,
    Option("--allow-missing", help="A dataset that a baseline file has and the scores have not may pass."),
]
AllowUnequal = Annotated[
    bool,
    Option("--allow-unequal", help="Compare scores of different prompts, data or rules, and say so."),
]
GroupBy = Annotated[
    list[str] | None,
    Option(metavar="FIELD", help="Also means over the values of a field of rows or catalogue; repeatable."),
]
Significant = Annotated[
    bool,
    Option(
        "--significant",
        help="Paired permutation tests over queries, from the --per-query files of both sides; a drop that"
        " may be chance passes the gate.",
    ),
]
PerQuery = Annotated[
    list[str] | None,
    Option(metavar="FILE", help="What `score --per-query` wrote, one file a model: for tests and examples."),
]
Examples = Annotated[
    int, Option(metavar="N", min=0, help="Hits and misses shown of each kind and task, in html.")
]
Plot = Annotated[
    str | None, Option(metavar="FILE.svg|png", help="Also draw the means as a bar chart, for slides.")
]
