"""The fault suite: what clusters, disks, people and files do to a run, and that nothing is lost by it.

    pytest tests/faults                                    a few seconds of it, within the default suite
    pytest tests/faults -m slow                            about a minute more, within the slow suite
    FAULTS=full pytest tests/faults -m "slow or not slow"  20 kills of each command, 50,000 fuzzed inputs

Run in one process, pytest prints the table of what was injected and what came of it. Survived: the run said
what was wrong in one line, or nothing, and the same command afterwards gave the bytes of a run that nothing
happened to.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import Tally
from warm import Server, Warm

TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Counts what was injected."""
    return TALLY


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process that runs are forked from."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.fixture
def warm(server: Server, tmp_path: Path) -> Warm:
    """As `vlm2vec`, without the seconds that loading torch takes."""
    return Warm(tmp_path, server=server)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if lines := TALLY.table():
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
