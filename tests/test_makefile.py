"""Which torch `make` installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("driver", "settings", "installs"),
    [
        (False, (), ["torch==2.13.0+cpu", "torch==2.13.0"]),
        (True, (), ["torch==2.13.0"]),
        (False, ("TORCH=torch==2.12.0+cu130",), ["torch==2.12.0+cu130"]),
    ],
)
def test_without_a_driver_the_cpu_build_comes_first(
    tmp_path: Path, driver: bool, settings: tuple[str, ...], installs: list[str]
) -> None:
    for name in ("sh", "make"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    if driver:
        shutil.copy("/bin/true", tmp_path / "nvidia-smi")
    command = ["make", "-n", "venv", f"VENV={tmp_path / 'venv'}", *settings]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = (one for one in done.stdout.splitlines() if '"torch' in one)
    assert line.split('"')[1::2] == installs
    assert line.count("||") == len(installs) - 1, "the second only where there is no first"
