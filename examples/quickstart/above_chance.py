"""How far above chance the cross-modal tasks of the quickstart are answered.

    python above_chance.py SCORES.jsonl... [--min MODEL=VALUE] [--guessing MODEL=VALUE]

For each model, the mean over the cross-modal tasks of (hit@1 - chance) / (1 - chance): 0 is guessing, 1 is
every query right. The exit code is 1 when a model is below its value of --min, or farther from 0 than its
value of --guessing.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import mean


def above_chance(score_files: list[Path]) -> dict[str, dict[str, float]]:
    """Per model and cross-modal task; models in the order of the files."""
    catalogue = json.loads(Path(__file__).with_name("tasks.json").read_text(encoding="utf-8"))
    chances = {task["name"]: task["chance"] for task in catalogue["tasks"] if task["cross_modal"]}
    found: dict[str, dict[str, float]] = {}
    for path in score_files:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["dataset"] in chances:
                chance = chances[row["dataset"]]
                value = (row["metrics"]["hit@1"] - chance) / (1 - chance)
                found.setdefault(row["model"], {})[row["dataset"]] = value
    for model, values in found.items():
        if missing := chances.keys() - values.keys():
            raise SystemExit(f"{model}: no score for {', '.join(sorted(missing))}")
    return found


def limits(given: list[str]) -> dict[str, float]:
    """The values of models, from MODEL=VALUE."""
    return {model: float(value) for model, _, value in (one.partition("=") for one in given)}


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description="Hit@1 above chance over the cross-modal quickstart tasks.")
    parser.add_argument("scores", nargs="+", type=Path)
    for option in ("--min", "--guessing"):
        parser.add_argument(option, action="append", default=[], metavar="MODEL=VALUE")
    given = parser.parse_args()
    means = {model: mean(values.values()) for model, values in above_chance(given.scores).items()}
    print("\nhit@1 above chance, mean of the 7 cross-modal tasks (0 is guessing, 1 is every query right)")
    for model, value in means.items():
        print(f"  {model:<12} {value:6.3f}")
    if below := [model for model, value in limits(given.min).items() if means[model] < value]:
        sys.exit(f"below its minimum: {', '.join(below)}")
    if knowing := [model for model, value in limits(given.guessing).items() if abs(means[model]) > value]:
        sys.exit(f"not guessing: {', '.join(knowing)}")


if __name__ == "__main__":
    main()
