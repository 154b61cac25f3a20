"""Media: references in rows become RGB pictures. `MediaReader` is the only thing other parts need."""

from vlm2vec_cli.media.apart import Apart
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.reader import MediaReader

__all__ = ["Apart", "MediaPolicy", "MediaReader"]
