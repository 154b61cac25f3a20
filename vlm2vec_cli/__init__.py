"""Multimodal embeddings on the command line: prepare, mine negatives, train, embed, score, report."""

__version__ = "0.1.0"
