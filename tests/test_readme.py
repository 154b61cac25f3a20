"""The README is true: its help texts are current, its tables complete, and what it names exists."""

import json
import re
from collections.abc import Iterator

import pytest

import readme
from vlm2vec_cli import app, errors
from vlm2vec_cli.schemas import KINDS

TEXT = readme.TEXT
PROGRAMS = ("vlm2vec", *app.COMMANDS)
SHIPPED = readme.ROOT / "examples" / "quickstart"
RESULTS = re.compile(r"<!-- results -->\n(.*?)<!-- /results -->", re.DOTALL)


def test_every_help_text_has_its_place() -> None:
    assert re.findall(r"<!-- help ([a-z0-9-]+) -->", TEXT) == list(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_help_text_is_current(name: str) -> None:
    (place,) = (found for found in readme.HELP.finditer(TEXT) if found[2] == name)
    assert place[0] == readme.current(place[0]), "run: make readme"


def named_files() -> Iterator[str]:
    """Relative links, and the paths of this tree that stand between backquotes."""
    prose = readme.FENCE.sub("", TEXT)
    yield from (link for link in re.findall(r"\]\(([^)#]+)\)", prose) if "://" not in link)
    for code in re.findall(r"`([^`\n]+)`", prose):
        for word in code.split():
            if word.startswith(("commands/", "examples/", "schemas/", "tests/", "vlm2vec_cli/")):
                yield word


@pytest.mark.parametrize("name", sorted(set(named_files())))
def test_what_it_names_exists(name: str) -> None:
    assert (readme.ROOT / name).exists()


def test_make_has_the_targets_that_it_names() -> None:
    makefile = (readme.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\n])", TEXT))
    assert {"quickstart", "test"} <= named <= targets


def test_every_exit_code_is_in_the_table() -> None:
    codes = {error.exit_code for error in errors.UserError.__subclasses__()}
    codes |= {0, app.INTERRUPTED, app.TERMINATED, app.BUG}
    table = TEXT.partition("### Exit codes")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE)
    assert sorted(codes) == [int(code) for one in listed for code in one.split(",")]


def test_every_kind_of_row_is_in_the_table() -> None:
    table = TEXT.partition("## Rows and streams")[2].partition("\n## ")[0]
    assert {kind.name for kind in KINDS} <= set(re.findall(r"^\| ([a-z]+) \|", table, re.MULTILINE))


def test_the_quickstart_table_has_the_numbers_of_the_catalogue() -> None:
    tasks = json.loads((SHIPPED / "tasks.json").read_bytes())["tasks"]
    said = {}
    for names, queries, chance in re.findall(
        r"^\| (\w[\w, ]*) \| .* \| ([\d, ]+) \| ([\d.]+) \|$", TEXT, re.MULTILINE
    ):
        for name, number in zip(names.split(", "), queries.split(", "), strict=True):
            said[f"Quickstart_{name}"] = (int(number), float(chance))
    assert said == {task["name"]: (task["num_queries"], round(task["chance"] * 100, 1)) for task in tasks}


def test_there_is_a_place_for_the_results() -> None:
    assert len(RESULTS.findall(TEXT)) == 1
