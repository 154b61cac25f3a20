#!/usr/bin/env bash
# Scores a model on a few tasks and compares it with the committed baseline: ends with 1 when a score fell by more
# than tolerances.toml allows. junit.xml and summary.md are for the build server.
#
#   bash examples/ci/regression.sh [MODEL]             default model: quickstart
#   UPDATE=1 bash examples/ci/regression.sh [MODEL]    writes the baseline instead
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
model=${1:-quickstart}
tasks=(--task Quickstart_kind --task Quickstart_grounding)

vlm2vec prepare quickstart "${tasks[@]}" | vlm2vec embed -q -m "$model" | vlm2vec score -q -o scores.jsonl
if [[ -n ${UPDATE:-} ]]; then
  mv scores.jsonl "$here/baseline.jsonl"
  exit
fi
compare=(scores.jsonl --baseline "$here/baseline.jsonl")
vlm2vec report "${compare[@]}" -o summary.md
vlm2vec report "${compare[@]}" --gate --tolerance-file "$here/tolerances.toml" -o junit.xml
