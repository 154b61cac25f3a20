"""Content to the text a model sees: where the visual tokens stand (VLM2Vec's assembly).

Instruction, one blank and the text when there is a text; then the visual tokens and one blank in front, video
first, unless the text places them itself with `<image>` / `<video>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm2vec_cli.errors import DataError

IMAGE = "<image>"
VIDEO = "<video>"
IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
V1_IMAGE = ("<|image_1|>",)  # how VLM2Vec V1's texts say `<image>`


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """Media references of one field as a list; absent is empty."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def prompt(
    content: Mapping[str, Any],
    default_instruction: str | None = None,
    *,
    image_token: str = IMAGE_TOKEN,
    video_token: str = VIDEO_TOKEN,
    also: Sequence[str] = (),
    between: str = " ",
) -> str:
    """The prompt of one content with a model's own visual tokens, one token for each visual.

    `also` are texts that mean `<image>`, too; `between` stands behind tokens that are put in front.
    A token without a visual stays when the content has no visual at all: it is embedded as an ordinary token.
    Raises DataError when a content with visuals places another number of tokens than it has visuals.
    """
    instruction = content.get("instruction")
    if instruction is None:
        instruction = default_instruction or ""
    text = content.get("text") or ""
    whole = f"{instruction} {text}" if instruction and text else instruction or text
    for name in (IMAGE, *also):
        whole = whole.replace(name, image_token)
    whole = whole.replace(VIDEO, video_token)
    num_images = len(as_list(content.get("image")))
    num_videos = 1 if content.get("video") else 0
    if not num_images and not num_videos:
        return whole
    placed_images, placed_videos = whole.count(image_token), whole.count(video_token)
    front = ""
    if num_videos and not placed_videos:
        front, placed_videos = f"{video_token}{between}", 1
    if num_images and not placed_images:
        front, placed_images = front + image_token * num_images + between, num_images
    for noun, placed, given in (("image", placed_images, num_images), ("video", placed_videos, num_videos)):
        if placed != given:
            raise DataError(
                f"text has {placed} <{noun}> tokens for {given} {noun}s",
                hint=f"write <{noun}> once for each {noun}, or leave it out",
            )
    return front + whole


def chat_template(image_token: str, video_token: str) -> str:
    """The same assembly as a Jinja template, for programs that take chat messages: the texts of all messages,
    the system's being the instruction, with a blank between; in front the visual tokens."""
    return f"""\
{{%- set seen = namespace(videos='', images='', texts=[]) -%}}
{{%- for message in messages -%}}
  {{%- if message.content is string -%}}
    {{%- set seen.texts = seen.texts + [message.content] -%}}
  {{%- else -%}}
    {{%- for part in message.content -%}}
      {{%- if part.type == 'text' -%}}
        {{%- set seen.texts = seen.texts + [part.text] -%}}
      {{%- elif part.type == 'video' -%}}
        {{%- set seen.videos = '{video_token} ' -%}}
      {{%- else -%}}
        {{%- set seen.images = seen.images + '{image_token}' -%}}
      {{%- endif -%}}
    {{%- endfor -%}}
  {{%- endif -%}}
{{%- endfor -%}}
{{{{- seen.videos + seen.images + (' ' if seen.images else '') + seen.texts | join(' ') -}}}}
"""
