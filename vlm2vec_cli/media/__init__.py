"""Media: references in rows become RGB pictures. `MediaReader` is the only thing other parts need.

Its names are loaded when first asked for: who only looks into archives decodes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm2vec_cli.media.apart import Apart
    from vlm2vec_cli.media.policy import MediaPolicy
    from vlm2vec_cli.media.reader import MediaReader

__all__ = ["Apart", "MediaPolicy", "MediaReader"]
HOMES = {"Apart": "apart", "MediaPolicy": "policy", "MediaReader": "reader"}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
