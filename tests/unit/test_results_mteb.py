"""What mteb itself says of the files that are written for it, and what is read of the files it writes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vlm2vec_cli.scoring import results_files

LOADED = """
import json, sys
from pathlib import Path
from mteb.cache import ResultCache
from mteb.results import TaskResult

cache, theirs = Path(sys.argv[1]), Path(sys.argv[2])
(model,) = ResultCache(cache).load_results().model_results
for path in sorted(cache.rglob("*.json")):
    if path.name != "model_meta.json":
        TaskResult.from_disk(path).to_disk(theirs / path.name)
scores = {one.task_name: one.get_score() for one in model.task_results}
print(json.dumps({"model": model.model_name, "revision": model.model_revision, "scores": scores}))
"""


@pytest.mark.slow
def test_mteb_loads_what_is_written_for_it_and_writes_what_is_read(tmp_path: Path) -> None:
    if importlib.util.find_spec("mteb") is None:
        pytest.skip("mteb is not installed: 275 MB for this test alone")
    values = {"hit@1": 0.5, "ndcg_linear@5": 0.625, "map@5": 0.375, "recall@5": 0.75, "mrr": 0.25}
    row: dict[str, Any] = {"model": "org/m", "fingerprint": "f00d", "data_digest": "d", "metrics": values}
    rows = [
        {**row, "dataset": "GQA", "main_metric": "hit@1", "main_score": 0.5},
        {**row, "dataset": "VidoreDocVQA", "main_metric": "ndcg_linear@5", "main_score": 0.625},
    ]
    for name, content in results_files.mteb_files(rows):
        path = tmp_path / "cache" / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    theirs = tmp_path / "theirs" / "org__m" / "f00d"
    theirs.mkdir(parents=True)
    # a process of its own: an import of mteb is heavy and warns
    command = [sys.executable, "-c", LOADED, str(tmp_path / "cache"), str(theirs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "model": "org/m",
        "revision": "f00d",
        "scores": {"GQA": 0.5, "VidoreDocVQA": 0.625},
    }
    for one, back in zip(rows, results_files.rows([str(theirs)]), strict=True):
        kept = ("dataset", "model", "main_metric", "main_score", "metrics")
        assert {name: back[name] for name in kept} == {name: one[name] for name in kept}
