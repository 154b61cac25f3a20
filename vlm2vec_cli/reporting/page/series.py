"""One colour and one short name a column, the same everywhere on the page."""

from dataclasses import dataclass

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.page.markup import Html, element
from vlm2vec_cli.reporting.results import Column, Report

COLOURS, GREYS = 6, 5


@dataclass(frozen=True, slots=True)
class Series:
    """A column with its colour class (`s0`.., references `r0`..) and short name."""

    column: Column
    colour: str
    name: str

    def swatch(self) -> Html:
        """A small square in the colour; the name always stands beside it."""
        square = element("rect", width="10", height="10", rx="2", class_=self.colour)
        return element("svg", square, class_="swatch", viewBox="0 0 10 10", aria_hidden="true")

    def label(self) -> Html:
        """Swatch and short name, the full name on hover."""
        return element("span", self.swatch(), self.name, class_="series", title=self.column.name)


def all_series(report: Report) -> list[Series]:
    """References of comparisons in greys, everything else in colours, in column order."""
    references = {comparison.reference for comparison in report.comparisons}
    found, colours, greys = [], 0, 0
    for index, (column, name) in enumerate(zip(report.columns, tables.short_names(report), strict=True)):
        if index in references:
            colour, greys = f"r{greys % GREYS}", greys + 1
        else:
            colour, colours = f"s{colours % COLOURS}", colours + 1
        found.append(Series(column, colour, name))
    return found


def legend(series: list[Series]) -> Html:
    """All series in a row; baselines say so."""
    items = [
        element("li", one.label(), element("small", " baseline") if one.column.baseline else None)
        for one in series
    ]
    return element("ul", *items, class_="legend")
