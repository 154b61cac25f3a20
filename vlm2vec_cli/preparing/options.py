"""The options that only `prepare` has."""

from typing import Annotated

import typer

Strings = list[str] | None
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="mmeb-v2, mmeb-eval, mmeb-train, llava-hound, colpali-train, visrag-train, hard-negatives, mix, "
        "sgg, quickstart, beir, files or table.",
    ),
]
Files = Annotated[
    Strings,
    typer.Argument(
        metavar="[FILE]...", help="For files and table (- or none is stdin), and sgg.", show_default=False
    ),
]
Root = Annotated[str | None, typer.Option(metavar="DIR", help="The folder of the raw data.")]
Names = Annotated[
    Strings, typer.Option("--task", "--subset", metavar="NAME", help="Only these; patterns, repeatable.")
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="original, diverse_instruction, train, test, ...")
]
Modality = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only datasets of image, video or visdoc.")
]
TaskType = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only of this type, a word of it, or group: retrieval, I-QA, v-*."),
]
InDomain = Annotated[
    bool, typer.Option("--in-domain", help="Only tasks that the published models were trained for.")
]
OutOfDomain = Annotated[bool, typer.Option("--ood", help="Only tasks that they were not trained for.")]
Check = Annotated[
    bool, typer.Option("--check", help="Write no rows: open every medium they name, report what is wrong.")
]
List = Annotated[bool, typer.Option("--list", help="Show the catalogue and what of it is under --root.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Output format where the file's suffix does not say: jsonl, parquet; text, jsonl with --list or "
        "--check.",
    ),
]
Side = Annotated[str, typer.Option("--side", metavar="query|candidate|both", help="Rows of one side only.")]
Plain = Annotated[bool, typer.Option("--no-instruction", help="Texts without the tasks' instructions.")]
Sample = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="N queries or pairs of each dataset, by chance, in any order the same."
    ),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="The first N queries or pairs of each dataset.")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="The rows' dataset, for sgg, beir, files, table.")
]
Role = Annotated[
    str | None, typer.Option(metavar="query|candidate", help="The rows' role; files: candidate.")
]
Instruction = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The rows' instruction, for files and table.")
]
WithText = Annotated[
    bool, typer.Option("--with-text", help="For files: the text of a PDF's page beside its picture.")
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="For mix: vlm2vec-v2, or its -image, -video, -visdoc part."),
]
Prompt = Annotated[
    str | None,
    typer.Option(metavar="training|evaluation", help="For sgg: whose published words ask; else training."),
]
Predicates = Annotated[
    str | None, typer.Option(metavar="FILE", help="For sgg: names split by commas, instead of VG150's 50.")
]
NoRelation = Annotated[
    bool, typer.Option("--no-relation", help='For sgg: "no relation" as one more candidate.')
]
Maps = Annotated[
    Strings, typer.Option("--map", metavar="FIELD=COLUMN", help="For table: as said above; repeatable.")
]
