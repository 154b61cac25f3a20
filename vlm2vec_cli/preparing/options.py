"""The options that only `prepare` has."""

from typing import Annotated

import typer

Strings = list[str] | None
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="mmeb-v2, mmeb-train, quickstart, beir, files or table.")
]
Files = Annotated[
    Strings, typer.Argument(metavar="[FILE]...", help="For files and table; - is stdin.", show_default=False)
]
Root = Annotated[str | None, typer.Option(metavar="DIR", help="The folder of the raw data.")]
Names = Annotated[
    Strings, typer.Option("--task", "--subset", metavar="NAME", help="Only these; patterns, repeatable.")
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="original, diverse_instruction, train, test, ...")
]
List = Annotated[bool, typer.Option("--list", help="Show the catalogue and what of it is under --root.")]
Side = Annotated[str, typer.Option("--side", metavar="query|candidate|both", help="Rows of one side only.")]
Plain = Annotated[bool, typer.Option("--no-instruction", help="Texts without the tasks' instructions.")]
Sample = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="N queries or pairs of each dataset, by chance.")
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="The first N queries or pairs of each dataset.")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="The rows' dataset, for beir, files and table.")
]
Role = Annotated[
    str | None, typer.Option(metavar="query|candidate", help="The rows' role; files: candidate.")
]
Instruction = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The rows' instruction, for files and table.")
]
Maps = Annotated[
    Strings, typer.Option("--map", metavar="FIELD=COLUMN", help="For table: as said above; repeatable.")
]
