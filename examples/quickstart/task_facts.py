"""What is said about each task: parser, instructions, how its texts are put together, catalogue entry.

Texts follow MMEB's templates for the same parsers, on the training side as on the asking side, so that what
`prepare` makes of both agrees to the character.
"""

from dataclasses import dataclass
from typing import Any

PREFIX = "Quickstart_"
TOKEN = "<|image_1|>"
"""The picture token of MMEB's raw texts; clips have `<video>`, as in LLaVA-Hound."""
PDF = "reportlab-userguide.pdf"
CLIPS = f"video-tasks/videos/video_ret/{PREFIX}t2v"
QUERY_PICTURES = f"video-tasks/frames/video_mret/{PREFIX}i2v"


@dataclass(frozen=True)
class Facts:
    """One task. `query` and `target` are its instructions; `asks` and `offers` what the two sides hold."""

    parser: str
    group: str
    task_type: str
    asks: str
    offers: str
    query: str
    target: str
    local: bool
    cross_modal: bool

    @property
    def modality(self) -> str:
        """Image, video or visdoc, as in the benchmark's catalogue."""
        return {"V-RET": "video", "VDR": "visdoc"}.get(self.group, "image")


PICTURE, CLIP, PAGE = "Describe this picture.", "Describe this clip.", "Describe this page."
PART = "Describe this part of a picture."
FACTS = {
    "kind": Facts(
        *("image_cls", "I-CLS", "image classification", "image", "text"),
        *("Say which kind of thing the picture shows.", "", True, True),
    ),
    "name_new_style": Facts(
        *("image_cls", "I-CLS", "image classification", "image", "text"),
        *("Name what the picture shows.", "", True, True),
    ),
    "choice_vqa": Facts(
        *("image_qa", "I-QA", "visual question answering", "image+text", "text"),
        *("Answer the question about the picture:", "", True, True),
    ),
    "t2i": Facts(
        *("image_t2i", "I-RET", "text-to-image retrieval", "text", "image"),
        *("Find the picture that fits this description:", PICTURE, True, True),
    ),
    "tags_to_seen": Facts(
        *("image_t2i", "I-RET", "text-to-image retrieval", "text", "image"),
        *("Find the picture that fits these words:", PICTURE, True, True),
    ),
    "i2i": Facts(
        *("image_i2i_vg", "I-RET", "image-to-image retrieval", "image", "image"),
        *("Find another picture of the same thing.", PICTURE, True, False),
    ),
    "composed": Facts(
        *("image_i2i_vg", "I-RET", "composed image retrieval", "image+text", "image"),
        *("Find the picture that results from the change asked for:", PICTURE, True, False),
    ),
    "grounding": Facts(
        *("image_i2i_vg", "I-VG", "visual grounding", "image+text", "image"),
        *("Find the part of the picture that shows the thing named:", PART, True, True),
    ),
    "t2v": Facts(
        *("msrvtt", "V-RET", "text-to-video retrieval", "text", "video"),
        *("Find the clip that fits this description:", CLIP, False, True),
    ),
    "i2v": Facts(
        *("momentseeker", "V-RET", "image-to-video retrieval", "image", "video"),
        *("Find the clip of the same thing.", CLIP, True, False),
    ),
    "section_to_page": Facts(
        *("vidore", "VDR", "visual document retrieval", "text", "image"),
        *("Find the page on which this section begins:", PAGE, False, False),
    ),
    "sentence_to_page": Facts(
        *("vidore", "VDR", "visual document retrieval", "text", "image"),
        *("Find the page that says this:", PAGE, False, False),
    ),
}


def instruction(facts: Facts, side: str) -> str:
    r"""The instruction as the evaluation rows of the image parsers store it.

    Targets of `image_i2i_vg` bring their own newline: that parser appends none to uncaptioned targets.

    >>> instruction(FACTS["i2i"], "target")
    '<|image_1|>\nDescribe this picture.\n'
    """
    if side == "query":
        return f"{TOKEN}\n{facts.query}" if "image" in facts.asks else facts.query
    end = "\n" if facts.parser == "image_i2i_vg" else ""
    return f"{TOKEN}\n{facts.target}{end}" if facts.target else ""


def query_text(facts: Facts, text: str = "", token: str = TOKEN) -> str:
    r"""The complete text of a query.

    >>> query_text(FACTS["choice_vqa"], "Which of these is it: bird, goose, crow, duck?")
    '<|image_1|>\nAnswer the question about the picture: Which of these is it: bird, goose, crow, duck?\n'
    """
    asked = f"{facts.query} {text}" if text else facts.query
    if facts.modality == "image":
        return f"{token}\n{asked}\n" if "image" in facts.asks else f"{asked}\n"
    return f"{token} {asked}" if "image" in facts.asks else asked


def target_text(facts: Facts, text: str = "", token: str = TOKEN) -> str:
    """The complete text of a target: the bare answer, or token and instruction."""
    if facts.offers == "text":
        return text
    if facts.modality == "image":
        return f"{token}\n{facts.target}\n"
    return f"{'<video>' if facts.offers == 'video' else token} {facts.target}"


def raw_places(name: str, facts: Facts) -> dict[str, str]:
    """Where the reader of a task finds its media below `mmeb-v2/`."""
    if facts.modality == "image":
        return {"image_root": "image-tasks/"}
    if facts.modality == "visdoc":
        return {"mirror": f"visdoc-tasks/data/{PREFIX}{name}", "image_root": "visdoc-tasks/"}
    clips = {"video_root": f"{CLIPS}/"}
    return {**clips, "frame_root": QUERY_PICTURES} if name == "i2v" else clips


def entry(name: str, queries: int, pools: list[int]) -> dict[str, Any]:
    """The catalogue entry of a task with `queries` test queries, whose pools have the sizes `pools`."""
    facts = FACTS[name]
    said: dict[str, str] = {"query": facts.query, "target": facts.target}
    if facts.parser == "momentseeker":
        said = {"query_image": facts.query, "target": facts.target}
    asked = query_text(facts, "{text}" if "text" in facts.asks else "", "<|image_pad|>")
    offered = target_text(facts, "{text}", "<|image_pad|>").replace("<video>", "<|video_pad|>")
    return {
        "name": PREFIX + name,
        "modality": facts.modality,
        "group": facts.group,
        "task_type": facts.task_type,
        "domain": "quickstart",
        "parser": facts.parser,
        "hf": {"config": None, "split": "test"},
        "local": raw_places(name, facts),
        "eval_type": "local" if facts.local else "global",
        "main_metric": "ndcg_linear@5" if facts.modality == "visdoc" else "hit@1",
        "query_modality": facts.asks,
        "candidate_modality": facts.offers,
        "instruction": said,
        "query_template": asked,
        "candidate_template": offered,
        "num_frames": 8 if facts.modality == "video" else None,
        "num_queries": queries,
        "num_candidates_per_query": max(pools),
        "chance": round(sum(1 / pool for pool in pools) / queries, 6),
        "cross_modal": facts.cross_modal,
    }


def train_entry(name: str, pairs: int) -> dict[str, Any]:
    """The catalogue entry of a training subset of `pairs` rows."""
    facts = FACTS[name]
    return {
        "name": PREFIX + name,
        "modality": facts.modality,
        "group": facts.group,
        "task_type": facts.task_type,
        "parser": "mmeb_train",
        "hf": {"config": None, "split": "original"},
        "num_pairs": pairs,
    }
