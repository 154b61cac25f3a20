"""The program with one command more, `rows`: rows in, the same rows out, to test streams and errors with."""

from typing import Annotated

import typer

from vlm2vec_cli import app, options
from vlm2vec_cli.schemas import KINDS
from vlm2vec_cli.schemas.base import Kind
from vlm2vec_cli.streams import Session


@app.app.command("rows")
def main(
    inputs: options.Inputs = None,
    output: options.Output = "-",
    format: options.Format = None,
    on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None,
    allow_rejects: options.AllowRejects = 0,
    limit: options.Limit = None,
    media_root: options.MediaRoot = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    kind: Annotated[str, typer.Option()] = "item",
    natural: Annotated[str, typer.Option()] = "jsonl",
    bug: Annotated[bool, typer.Option()] = False,
) -> None:
    """Copies rows."""
    if bug:
        raise ValueError("wrong sign")
    with Session(
        inputs,
        output,
        natural=natural,
        format=format,
        on_error=on_error,
        rejects=rejects,
        allow_rejects=allow_rejects,
        limit=limit,
        media_root=media_root,
        quiet=quiet,
    ) as session:
        chosen: Kind = {one.name: one for one in KINDS}[kind]
        session.write((record.row for record in session.read(chosen)), chosen)


app.COMMANDS["rows"] = main
app.run()
