"""Hard negatives of two of the quickstart's tasks.

The source names one of the four or five things of a training scene; a second one, never one that `t2i` asks
for, is asked for as well, and each part is the other's negative: parts of other scenes are told by their
ground alone. A wrong option of a choice question is its negative where it is the right answer to another:
else the words alone tell the answer within a batch, and with all wrong options a model learns which names are
never right.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

Row = dict[str, Any]


def options(question: str) -> list[str]:
    """The four answers that a choice question lists.

    >>> options("Which of these is it: bird, goose, crow, duck?")
    ['bird', 'goose', 'crow', 'duck']
    """
    return question.split(": ", 1)[1].removesuffix("?").split(", ")


def with_second_parts(pairs: list[Row], parts: Mapping[str, str], names: Mapping[str, str]) -> list[Row]:
    """Each grounding pair and one more about its scene, for a thing in `names`, each with the other's part as
    its hard negative; `parts` gives the thing on each part."""
    both: list[Row] = []
    for pair in pairs:
        scene, part = (PurePosixPath(pair[side]["image"]) for side in ("query", "positive"))
        others = (p for p in parts if p.rsplit("-", 1)[0] == scene.stem and p != part.stem)
        second = next((p for p in others if parts[p] in names), None)
        if second is None:
            both.append(pair)
            continue
        picture = str(part.with_name(f"{second}.jpg"))
        query = {**pair["query"], "text": names[parts[second]]}
        both.append({**pair, "negatives": [{"image": picture}]})
        both.append({"query": query, "positive": {"image": picture}, "negatives": [pair["positive"]]})
    return both


def with_wrong_options(pairs: list[Row]) -> list[Row]:
    """Choice pairs, each with the wrong options that are right elsewhere as its hard negatives."""
    right = {pair["positive"]["text"] for pair in pairs}
    return [
        {**pair, "negatives": [{"text": one} for one in options(pair["query"]["text"]) if one in wrong]}
        for pair in pairs
        for wrong in [right - {pair["positive"]["text"]}]
    ]
