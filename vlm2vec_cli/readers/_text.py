"""Texts as the reference system builds them, with `<image>` and `<video>` where its visual tokens stand."""

IMAGE, VIDEO = "<image>", "<video>"
LEGACY = "<|image_1|>"
"""The picture token in published rows."""


def joined(instruction: str, text: str = "", token: str = "") -> str:
    """Instruction, blank, text; in front of them the token and a blank. What is empty takes its blank along.

    >>> joined("Answer:", "How many?", IMAGE)
    '<image> Answer: How many?'
    """
    prompt = f"{instruction} {text}" if instruction and text else instruction or text
    return f"{token} {prompt}" if token and prompt else token or prompt


def visible(text: str) -> str:
    """`text` with the legacy token as `<image>`, wherever it stands."""
    return text.replace(LEGACY, IMAGE)


def without_token(text: str) -> str:
    """`text` without the legacy token."""
    return text.replace(LEGACY, "")
