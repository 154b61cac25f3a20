"""The fault suite: what clusters, disks, people and files do to a run, and that nothing is lost by it.

    pytest tests/faults                                    a few seconds of it, within the default suite
    pytest tests/faults -m slow                            about a minute more, within the slow suite
    FAULTS=full pytest tests/faults -m "slow or not slow"  20 kills of each command, 50,000 fuzzed inputs

Run in one process, pytest prints the table of what was injected and what came of it. Survived: the run said
what was wrong in one line, or nothing, and the same command afterwards gave the bytes of a run that nothing
happened to.

Measured on 2026-12-01 on two cores of x86-64, shared with other work, in parts: `pytest tests/faults`, the
same with `-m slow`, and, on 2026-11-23, of the full count the inputs of references. Of the full count of rows
the first 7,105 inputs found a number beyond float32 that numpy warned of; damaged Parquet and zip headers
raised what was no user's error. All end in one line now; full counts of rows, containers and media are still
to be run.

    fault                                          injected survived     lost
    SIGKILL, embed -o DIR/ --resume                       2        2        0
    SIGKILL, train                                        3        3        0
    SIGKILL, prepare -o FILE                              2        2        0
    SIGTERM and SIGINT, embed -o DIR/, train              4        4        0
    SIGPIPE                                               6        6        0
    closed or full standard stream                        5        5        0
    full disk, embed and train; full temporary folder     3        3        0
    read-only output                                      3        3        0
    vanished media, vanished input                        2        2        0
    clock: files of the past and the future, jumps        3        3        0
    two runs into one folder                              2        2        0
    media worker that dies, embed                         3        3        0
    media worker that hangs, embed                        1        1        0
    media worker that dies, prepare --check, report       2        2        0
    fuzz                                             inputs     read  refused
    references                                        13000       50    12950
"""

import pytest

from faults import Tally

TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Counts what was injected."""
    return TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if lines := TALLY.table():
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
