"""How the value of a field is checked and normalised, a function a type.

Each returns the value to keep, or None for one that counts as absent, or raises DataError whose fact starts
at the field ("expected a string, got a number").
"""

import math
from collections.abc import Callable
from typing import Any

from vlm2vec_cli.errors import DataError

Json = dict[str, Any]
ROLES = ("query", "candidate")
WORDS = {
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bytes: "binary data",
    type(None): "null",
}
PRECISIONS = ("float32", "float16", "int8", "binary")
MOST = 1_000_000  # of whatever is counted in a row
ROUNDING = 1e-6  # means of fractions may exceed 1 by rounding


def expected(words: str, value: object) -> DataError:
    """The error of a value that is not `words`."""
    return DataError(f"expected {words}, got {named(value)}")


def named(value: object) -> str:
    """What a JSON value is, in words."""
    return WORDS.get(type(value), f"a {type(value).__name__}")


def string(value: Any) -> str:
    """A string as it is."""
    if not isinstance(value, str):
        raise expected("a string", value)
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise expected("true or false", value)
    return value


def identifier(value: Any) -> str:
    """A non-empty string; an integer becomes one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise expected("a string or an integer", value)
    if not value:
        raise DataError("expected a string or an integer, got an empty string")
    return value


def integer(value: Any) -> int:
    """An integer that is not negative."""
    checked = _whole(value)
    if checked < 0:
        raise DataError(f"expected an integer of at least 0, got {checked}")
    return checked


def count(value: Any) -> int:
    """An integer above 0."""
    checked = _whole(value)
    if not 1 <= checked <= MOST:
        raise DataError(f"expected an integer from 1 to {MOST}, got {checked}")
    return checked


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise expected("an integer", value)
    return value


def number(value: Any) -> float:
    """A finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise expected("a number", value)
    if not math.isfinite(value):
        raise DataError(f"expected a finite number, got {value}")
    return value


def fraction(value: Any) -> float:
    """A number in 0..1."""
    checked = number(value)
    if not -ROUNDING <= checked <= 1 + ROUNDING:
        raise DataError(f"expected a number from 0 to 1, got {value}")
    return checked


def gain(value: Any) -> float:
    """A number above 0."""
    checked = number(value)
    if checked <= 0:
        raise DataError(f"expected a gain above 0, got {value}")
    return checked


def one_of(*names: str) -> Callable[[Any], str]:
    """The check of a string out of a few."""

    def checked(value: Any) -> str:
        if value not in names:
            raise DataError(f"expected {' or '.join(map(repr, names))}, got {value!r}")
        return str(value)

    return checked


def reference(value: Any) -> str:
    """A non-empty string."""
    if not isinstance(value, str):
        raise expected("a media reference", value)
    if not value:
        raise DataError("expected a media reference, got an empty string")
    return value


def media(value: Any) -> str | list[str] | None:
    """A reference or a list of them; a list of one is that one, an empty list is absent."""
    if isinstance(value, str):
        return reference(value)
    references: list[str] = list_of(reference, "a media reference or a list of them")(value)
    return references[0] if len(references) == 1 else references or None


def list_of(check: Callable[[Any], Any], words: str) -> Callable[[Any], list[Any]]:
    """The check of a list whose every entry passes `check`."""

    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise expected(words, value)
        for index, one in enumerate(value):
            try:
                value[index] = check(one)
            except DataError as error:
                raise DataError(f"entry {index + 1}: {error.fact}") from None
        return value

    return checked


def map_of(check: Callable[[Any], Any], words: str) -> Callable[[Any], Json]:
    """The check of an object whose every value passes `check`."""

    def checked(value: Any) -> Json:
        if not isinstance(value, dict):
            raise expected(words, value)
        for key, one in value.items():
            try:
                value[key] = check(one)
            except DataError as error:
                raise DataError(f"{key}: {error.fact}") from None
        return value

    return checked


def interval(value: Any) -> list[float]:
    """[low, high]."""
    if not isinstance(value, list) or len(value) != 2 or not number(value[0]) <= number(value[1]):
        raise DataError("expected [low, high]")
    return value


def content(value: Any) -> Json:
    """One side of a pair; must hold text or media."""
    if not isinstance(value, dict):
        raise expected("an object with text, image or video", value)
    return check_content(value)


def check_content(row: Json) -> Json:
    """`row` with its content fields checked and normalised, DataError unless one of them is there."""
    present = False
    for name, check in CONTENT.items():
        value = row.get(name)
        if value is not None:
            try:
                value = check(value)
            except DataError as error:
                raise DataError(f"{name}: {error.fact}") from None
            if value is not None:
                row[name] = value
                present = present or name in SHOWN
                continue
        row.pop(name, None)
    if not present:
        raise DataError("expected text, image or video")
    return row


def embedding(value: Any) -> Any:
    """A 1-D numpy array: float32, or int8 and uint8 as they are; numbers in a list become float32."""
    import numpy as np  # only whoever reads vectors pays for it

    array = value if isinstance(value, np.ndarray) else _array(value)
    if array.dtype.kind not in "iuf" or array.ndim != 1 or not array.size:
        raise DataError("expected a list of numbers")
    if isinstance(value, list) or array.dtype.kind == "f" or array.dtype.itemsize > 1:
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise DataError("expected finite numbers")
    return array


def _array(value: Any) -> Any:
    import numpy as np

    if not isinstance(value, list):
        raise expected("a list of numbers", value)
    try:
        return np.asarray(value)
    except ValueError:
        raise DataError("expected a list of numbers") from None


CONTENT: dict[str, Callable[[Any], Any]] = {
    "text": string,
    "image": media,
    "video": media,
    "instruction": string,
    "num_frames": count,
}
SHOWN = ("text", "image", "video")
