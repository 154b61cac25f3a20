"""Rows in and out, and no other door to them: stdin, paths, JSONL, Parquet, gzip, zstd, closed pipes.

A command opens one `Session`, which checks the whole command line before any work starts, then reads and
writes through it. `write_file` and `save` write side files, `read_lines` reads side text such as qrels.
`alone` and `locked` keep two runs from writing into one folder.
"""

from vlm2vec_cli.streams.locks import Lock, alone, locked
from vlm2vec_cli.streams.opening import read_lines
from vlm2vec_cli.streams.session import Session
from vlm2vec_cli.streams.sinks import save, write_file

__all__ = ["Lock", "Session", "alone", "locked", "read_lines", "save", "write_file"]
