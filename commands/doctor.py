"""What this machine has, lacks and can do."""

from typing import Annotated

import typer

from vlm2vec_cli import options, streams
from vlm2vec_cli.errors import UnavailableError

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help="The model of the self-test; none: leave it out."),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="text, or json for programs.  [default: text]")
]


def main(
    model: Model = "quickstart",
    output: options.Output = "-",
    format: Format = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Look whether everything is in order: packages, devices, memory, decoders, folders, and a model run.

    Optional things that are not there are `absent`. Ends with 69 if anything is a `problem`.

    Examples:
      vlm2vec doctor

      vlm2vec doctor --format json -m none | python -m json.tool
    """
    with streams.Session(
        [], output, natural="text", format=format, formats=("text", "json"), quiet=quiet
    ) as session:
        import orjson

        from vlm2vec_cli import doctor

        findings = list(doctor.examine(None if model == "none" else model))
        if session.format == "json":
            rows = [one._asdict() for one in findings]
            session.write_text(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        else:
            session.write_text(doctor.as_text(findings))
    problems = [one.name for one in findings if one.status == "problem"]
    if problems:
        raise UnavailableError(f"not in order: {', '.join(problems)}", hint="the remedies stand beside them")
