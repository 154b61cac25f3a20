"""Hits and misses to look at: the query, what was found for it, and what should have been."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlm2vec_cli.reporting.examples import Answer, Example, TaskExamples
from vlm2vec_cli.reporting.page.markup import Html, element, join
from vlm2vec_cli.reporting.page.series import Series
from vlm2vec_cli.reporting.thumbnails import Thumbnail, Thumbnails

LONGEST_TEXT = 400
NAMES = {
    "miss": ("Misses", "another candidate came first"),
    "hit": ("Hits", "a relevant candidate came first"),
    "gained": ("Gained", "missed before, found now"),
    "lost": ("Lost", "found before, missed now"),
    "both miss": ("Missed by both", ""),
    "both hit": ("Found by both", ""),
}


def section(tasks: Sequence[TaskExamples], series: list[Series], pictures: Thumbnails) -> Html:
    """A folded block a task, the first one open."""
    blocks = [_task(one, series, pictures, first=index == 0) for index, one in enumerate(tasks)]
    return element(
        "section",
        element("h2", "Examples"),
        element(
            "p",
            "Spread evenly over each task\u2019s queries, not picked. Framed candidates are relevant.",
            class_="hint",
        ),
        *blocks,
        id="examples",
    )


def sprites(pictures: Thumbnails) -> Html:
    """Every different picture once; the page refers to it by name."""
    images = [
        element("image", id=one.key, href=one.uri, width=one.width, height=one.height)
        for one in pictures.made.values()
    ]
    return element(
        "svg", element("defs", *images), class_="sprites", aria_hidden="true", width="0", height="0"
    )


def _task(task: TaskExamples, series: list[Series], pictures: Thumbnails, *, first: bool) -> Html:
    total = sum(task.counts.values())
    shares = ", ".join(f"{count} {kind}" for kind, count in task.counts.items())
    parts: list[Html] = []
    for kind in task.counts:
        examples = [one for one in task.examples if one.kind == kind]
        if examples:
            name, meaning = NAMES[kind]
            text = f" {task.counts[kind]} of {total}" + (f": {meaning}" if meaning else "")
            parts.append(element("h3", name, element("small", text)))
            parts += [_example(one, series, pictures) for one in examples]
    head = element("summary", element("b", task.task.name), element("small", f" {shares}"))
    return element("details", head, *parts, open=first)


def _example(example: Example, series: list[Series], pictures: Thumbnails) -> Html:
    relevant = {str(one["id"]) for one in example.relevant}
    query = element(
        "div",
        element("h4", "Query ", element("small", example.query)),
        _content(example.content, pictures),
        class_="query",
    )
    answers = [
        _answer(answer, series[answer.column], relevant, pictures, named=len(series) > 1)
        for answer in example.answers
    ]
    wanted = None
    shown = {str(one["id"]) for answer in example.answers for one in answer.candidates}
    if not relevant & shown and example.relevant:
        wanted = element(
            "div",
            element("h4", "Relevant"),
            element(
                "ol",
                *(_candidate(one, None, True, pictures) for one in example.relevant[:3]),
                class_="ranking",
            ),
            class_="wanted",
        )
    kind = example.kind.replace(" ", "-")
    return element(
        "article", query, element("div", *answers, wanted, class_="answers"), class_=f"example {kind}"
    )


def _answer(answer: Answer, series: Series, relevant: set[str], pictures: Thumbnails, *, named: bool) -> Html:
    where = "nothing relevant in the ranking"
    if answer.rank is not None:
        where = f"first relevant at rank {answer.rank}" + (
            f" of {answer.num_ranked}" if answer.num_ranked else ""
        )
    items = [
        _candidate(one, rank, str(one["id"]) in relevant, pictures)
        for rank, one in enumerate(answer.candidates, start=1)
    ]
    head = element("h4", series.label() if named else "Found", element("small", f" {where}"))
    return element("div", head, element("ol", *items, class_="ranking"), class_="answer")


def _candidate(content: Mapping[str, Any], rank: int | None, relevant: bool, pictures: Thumbnails) -> Html:
    score = content.get("score")
    about = element(
        "div",
        f"{rank}. " if rank is not None else "",
        element("span", f"{score:.3f}", class_="score") if score is not None else None,
        element("span", "relevant", class_="mark") if relevant else None,
        class_="about",
    )
    body = _content(content, pictures) or element("span", str(content["id"]), class_="words")
    return element(
        "li", about, body, class_="candidate relevant" if relevant else "candidate", title=str(content["id"])
    )


def _content(content: Mapping[str, Any], pictures: Thumbnails) -> Html:
    thumbs = pictures.of(content)
    parts: list[Html | None] = []
    if thumbs:
        parts.append(
            element(
                "span",
                *(_thumb(one) for one in thumbs),
                class_="thumbs strip" if len(thumbs) > 1 else "thumbs",
            )
        )
    parts += [
        element("span", f"cannot be shown: {one}", class_="absent") for one in pictures.missing(content)
    ]
    text = _words(content, visual=bool(thumbs))
    if text:
        parts.append(element("span", text, class_="words"))
    return join(parts, "")


def _thumb(one: Thumbnail) -> Html:
    return element(
        "svg",
        element("use", href=f"#{one.key}"),
        class_="thumb",
        viewBox=f"0 0 {one.width} {one.height}",
        width=one.width,
        height=one.height,
        role="img",
        aria_label="picture",
    )


def _words(content: Mapping[str, Any], *, visual: bool) -> str:
    """Instruction and text; placeholders of visuals that are shown are left out."""
    text = " ".join(part for part in (content.get("instruction"), content.get("text")) if part)
    if visual:
        text = text.replace("<image>", " ").replace("<video>", " ")
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()}\u2026"
