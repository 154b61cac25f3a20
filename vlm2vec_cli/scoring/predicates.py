"""What is asked of a scene graph: metrics by name, and the predicates that are left out or judged apart."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.scoring.dataset import NAMED, Dataset, named

log = logging.getLogger(__name__)

CUTOFFS: Final = (20, 50, 100)
MAIN: Final = "sgg_mean_recall@50"
NO_RELATION: Final = "no relation"
PREFIX: Final = "sgg_"
PARTS: Final = ("", "_base", "_novel")
KINDS: Final = ("recall", "image_recall", "mean_recall")


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """`novel` predicates (none: those whose rows say so) are also judged apart, `ignored` ones not ranked.

    `wanted` metrics are measured, or none: all there are at the usual cutoffs.
    """

    novel: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset({NO_RELATION})
    main: str = MAIN
    wanted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, names in (("--main-metric", [self.main]), ("--metrics", self.wanted)):
            for name in names:
                _check_name(name, option)

    @property
    def cutoffs(self) -> list[int]:
        """The cutoffs to measure at."""
        return sorted({*(() if self.wanted else CUTOFFS), *map(_cutoff, (self.main, *self.wanted))})

    def numbers(self, dataset: Dataset) -> set[int]:
        """The candidates that are novel."""
        return {dataset.number[name] for name in self.novel if name in dataset.number} or dataset.novel

    def facts(self, dataset: Dataset) -> dict[str, list[str]]:
        """What a score row says of how its predicates were taken."""
        novel = [dataset.ids[number] for number in self.numbers(dataset)]
        return {"novel": sorted(novel), "ignored": sorted(self.ignored)}


def _check_name(name: str, option: str) -> None:
    base, _, k = name.partition("@")
    bases = [f"sgg_{way}{kind}{part}" for part in PARTS for way in ("", "ng_") for kind in KINDS]
    if base not in bases:
        hint = nearest(name, [f"{one}@{k or CUTOFFS[1]}" for one in bases]) or f"such as {MAIN}"
        raise UsageError(f"unknown metric {name!r}", place=option, hint=hint)
    if not k.isdecimal() or int(k) < 1:
        raise UsageError(f"metric {name!r} needs a cutoff", place=option, hint=f"write {base}@50")


def _cutoff(name: str) -> int:
    return int(name.partition("@")[2])


def check_predicates(graph: SceneGraph, dataset: Dataset) -> None:
    """DataError for a list of names that does nothing; a warning for names in it that do."""
    ignored = sorted(graph.ignored - {NO_RELATION} - dataset.number.keys())
    novel = sorted(graph.novel - dataset.number.keys())
    for option, unknown in (("--ignore", ignored), ("--novel", novel)):
        if not unknown:
            continue
        fact = f"not among the candidates: {named('predicate', unknown)}"
        if option == "--novel" and len(unknown) < len(graph.novel):
            log.warning("dataset %r: %s of %s", dataset.name, fact, option)
            continue
        hint = nearest(unknown[0], dataset.number)
        raise dataset.error(
            fact, place=option, hint=hint or f"candidates are {', '.join(dataset.ids[:NAMED])}, ..."
        )


def read_names(lines: Sequence[str]) -> frozenset[str]:
    """Predicates from a text: one a line, or several with commas between."""
    return frozenset(name for line in lines for name in map(str.strip, line.split(",")) if name)
