"""The README taken apart, and its help texts written anew: `python tests/support/readme.py`."""

import contextlib
import io
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
HELP = re.compile(r"(<!-- help ([a-z0-9-]+) -->\n).*?(<!-- /help \2 -->\n)", re.DOTALL)
FENCE = re.compile(
    r"(?P<mark><!-- run -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
MARKS = "();<>|&\n"


@dataclass(frozen=True)
class Block:
    """A fenced block; `runs` where the line before it says so."""

    language: str
    code: str
    runs: bool


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, in order."""
    return [Block(one["language"], one["code"], bool(one["mark"])) for one in FENCE.finditer(text)]


TEXT = README.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)


def help_of(command: str) -> str:
    """What `vlm2vec COMMAND --help` says on a terminal of 100 columns; `vlm2vec` is the program itself."""
    from vlm2vec_cli.app import app

    words = [] if command == "vlm2vec" else [command]
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            app([*words, "--help"], prog_name="vlm2vec", standalone_mode=False)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return said.getvalue()


def examples_of(command: str) -> list[str]:
    """The example commands at the end of a command's help."""
    examples = help_of(command).partition("\n  Examples:\n")[2]
    return [line.strip() for line in examples.splitlines() if line.strip()]


def current(text: str) -> str:
    """The text with every help text in it as the program says it now."""
    return HELP.sub(lambda found: f"{found[1]}```text\n{help_of(found[2])}```\n{found[3]}", text)


def commands(code: str) -> list[list[str]]:
    """The words behind each `vlm2vec` in shell code or a Makefile, redirections left out."""
    found = []
    code = re.sub(r"\$[@<^*]|\$\(@D\)|\$\([A-Z_]+\)", "NAME", code).replace("$(shell", "(").replace("$$", "$")
    code = re.sub(r"\$\{[A-Z]+:-(\w+)\}", r"\1", code)  # ${STEPS:-600}
    code = re.sub(r"\|\s*\n", "| ", code.replace("\\\n", " "))
    lexer = shlex.shlex(code, posix=True, punctuation_chars=MARKS)
    lexer.whitespace_split, lexer.whitespace, lexer.commenters = True, " \t\r", ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(MARKS) and not set(word) <= set("<>"):
            if words[:1] == ["vlm2vec"]:
                found.append(_without_files(words[1:]))
            words = []
        else:
            words.append(word)
    return found


def _without_files(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        to_a_file = set(word) <= set("<>")
        if not skip and not to_a_file:
            kept.append(word)
        skip = to_a_file
    return kept


if __name__ == "__main__":
    README.write_text(current(README.read_text(encoding="utf-8")), encoding="utf-8")
