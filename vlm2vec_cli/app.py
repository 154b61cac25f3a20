"""The program: its commands in the order of the pipeline, and the place where errors become exit codes."""

import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from inspect import cleandoc
from threading import Timer
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from vlm2vec_cli import __version__, options, progress
from vlm2vec_cli.commands import doctor, embed, mine_negatives, prepare, report, score, train
from vlm2vec_cli.errors import ReaderGone, UnavailableError, UserError, nearest

COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare.main,
    "mine-negatives": mine_negatives.main,
    "train": train.main,
    "embed": embed.main,
    "score": score.main,
    "report": report.main,
    "doctor": doctor.main,
}
INTERRUPTED, TERMINATED, BUG = 130, 143, 70
# Objects made before the collector looks for cycles, and young collections before an older one: imports
# make hundreds of thousands that stay, and to look through these as often as Python does by itself takes a
# tenth of the start.
_GC_THRESHOLDS = (10_000, 20)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SCARCE = (*_FULL, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)

app = typer.Typer(
    name="vlm2vec",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": options.own_name,
    },
)


class Terminated(BaseException):
    """The process was asked to stop by SIGTERM; what is finished is kept as on Ctrl-C."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vlm2vec {__version__}")
        raise typer.Exit


@app.callback()
def vlm2vec(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Multimodal embeddings: raw data to rows, rows to models, vectors, scores and reports.

    Commands read and write rows, JSON lines or Parquet, and are made to be piped:

    \b
      vlm2vec prepare mmeb-v2 --root MMEB-V2 | vlm2vec embed | vlm2vec score | vlm2vec report
    """


def help_of(command: Callable[..., None]) -> tuple[str, str]:
    """The text before the `Examples:` of a docstring, and the examples with their line breaks kept."""
    text, _, examples = cleandoc(command.__doc__ or "").partition("Examples:")
    kept = [f"\b\nExamples:\n{block}" if first else f"\b\n{block}" for first, block in _blocks(examples)]
    return text.strip(), "\n\n".join(kept)


def _blocks(examples: str) -> list[tuple[bool, str]]:
    blocks = [block.strip("\n") for block in examples.split("\n\n") if block.strip()]
    return [(number == 0, block) for number, block in enumerate(blocks)]


for _name, _main in COMMANDS.items():
    _help, _epilog = help_of(_main)
    app.command(_name, help=_help, epilog=_epilog)(_main)


def run() -> NoReturn:
    """Runs the command line and exits: the one funnel through which every error leaves the program."""
    _keep_standard_descriptors()
    gc.set_threshold(*_GC_THRESHOLDS)
    progress.start()
    code: Any = BUG
    try:
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGTERM, _terminated)
        code = app(prog_name="vlm2vec", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except UserError as error:
        code = _say(str(error), error.hint, error.exit_code)
    except typer.TyperException as error:
        code = _usage(error)
    except (ReaderGone, BrokenPipeError):
        code = _reader_gone()
    except SystemExit as error:
        # typer turns a closed pipe under its own help text into exit 1
        code = _reader_gone() if isinstance(error.__context__, BrokenPipeError) else error.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except Exception as error:
        if (lacking := _lacking(error)) is not None:
            code = _say(str(lacking), lacking.hint, lacking.exit_code)
        else:
            traceback.print_exc()
            fact = f"internal error: {type(error).__name__}: {error}"
            code = _say(fact, "please report it with the lines above", BUG)
    gc.freeze()  # else the interpreter looks through all that libraries made before it ends: over a second
    sys.exit(code if isinstance(code, int) else 0)


def _keep_standard_descriptors() -> None:
    """Puts nothing where stdin, stdout or stderr is closed, so that no file takes its number.

    A library that prints would write into that file. `sys.stdin` and `sys.stdout` stay None.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # until the process ends


def _lacking(error: Exception) -> UnavailableError | None:
    """What the machine has no more of, where that is what went wrong."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return UnavailableError("out of memory", hint="the command's help says what it holds in memory")
    if isinstance(error, OSError) and error.errno in _SCARCE:
        place = str(error.filename or "")
        hint = (
            "make room where stdout goes, or name another folder for temporary files: TMPDIR"
            if error.errno in _FULL
            else None
        )
        return UnavailableError(str(error.strerror), place=place, hint=hint)
    return None


def _say(fact: str, hint: str | None, code: int) -> int:
    print(f"vlm2vec: error: {fact}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code


def _usage(error: typer.TyperException) -> int:
    """Typer's own complaints in our form; the bare program shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = next((f" {word}" for word in sys.argv[1:2] if word in COMMANDS), "")
    path = context.command_path if context is not None else f"vlm2vec{command}"
    fact = error.format_message().split(" Did you mean")[0].split(" (Possible")[0].rstrip(".")
    hint = f"{path} --help"
    if fact.startswith("No such command"):
        known = f"known: {', '.join(COMMANDS)}"
        hint = f"{nearest(fact.split(chr(39))[1], COMMANDS)} {known}".strip()
    elif fact.startswith("No such option") and context is not None:
        options = [name for one in context.command.params for name in one.opts]
        hint = nearest(getattr(error, "option_name", ""), options) or hint
    place = path.partition(" ")[2]
    fact = fact[:1].lower() + fact[1:]
    return _say(f"{place}: {fact}" if place else fact, hint, error.exit_code)


def _reader_gone() -> int:
    """Status 0, and the flush at exit goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    """Sends a signal again that arrived where nothing can be raised, as in a finaliser; it would be lost."""
    number = {Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(found.exc_type)
    if number is None:
        sys.__unraisablehook__(found)
    else:
        Timer(0.01, os.kill, (os.getpid(), number)).start()
