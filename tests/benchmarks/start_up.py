"""How long a command takes to its first vector, beside what importing transformers' model alone takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start_up() -> str:
    """Seconds of a whole command on one row, and of a program that only imports the model's class."""
    alone = {**os.environ, "PYTHONPATH": str(ROOT)}  # without a folder of peers
    command = ["-m", "vlm2vec_cli", "embed", "-m", "tiny", "--format", "jsonl", "-q"]
    imports = ["-c", "from transformers import Qwen2VLForConditionalGeneration"]
    best = {}
    for _ in range(3):
        for given in (command, imports):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *given], input=b'{"text": "a red apple"}\n', check=True, capture_output=True,
                env=alone,
            )  # fmt: skip
            taken = time.perf_counter() - start
            best[given[0]] = min(best.get(given[0], taken), taken)
    return (
        f"start-up to the first vector with tiny: {best['-m']:.2f} s (under 6); "
        f"a program that only imports transformers' model: {best['-c']:.2f} s"
    )
