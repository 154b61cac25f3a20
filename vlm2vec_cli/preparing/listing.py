"""The catalogue as people and programs read it."""

import orjson

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.readers import Missing
from vlm2vec_cli.schemas.base import Row

FORMS = ("text", "jsonl")


def check_form(what: str, form: str) -> None:
    """UsageError for a form that `what`, a list or a check, is not written in."""
    if form not in FORMS:
        raise UsageError(f"--format: {what} is {' or '.join(FORMS)}, not {form}")


def show(listed: list[Row], form: str) -> str:
    """A listing as `form` asks: "jsonl", an object a line, or "text"."""
    if form == "jsonl":
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in listed).decode()
    return table(listed)


def table(listed: list[Row]) -> str:
    """A listing for people: a line each, columns aligned."""
    heads = ["NAME", "MODALITY", "GROUP", "TYPE", "SIZE"]
    lines = [
        [_cell(row[name]) for name in ("name", "modality", "group", "task_type", "size")] for row in listed
    ]
    if listed and "annotations" in listed[0]:
        heads += ["FOUND", "MISSING"]
        for line, row in zip(lines, listed, strict=True):
            there = [name for name in ("annotations", "media") if row[name]]
            line.append(" + ".join(there) or "-")
            line.append("; ".join(Missing(**one).shown() for one in row["missing"]))
    widths = [max(len(one) for one in column) for column in zip(heads, *lines, strict=True)]
    shown = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (heads, *lines)
    )
    return "".join(f"{line.rstrip()}\n" for line in shown)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
