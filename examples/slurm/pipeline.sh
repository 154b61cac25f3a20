#!/usr/bin/env bash
# The whole way as jobs that wait for each other: raw data -> pairs -> hard negatives -> model -> vectors -> scores.
#
#   DATA=/data bash examples/slurm/pipeline.sh RUN [OPTIONS OF TRAIN]
#
# RUN is a folder that all machines see; DATA holds MMEB-train and MMEB-V2. TRAIN and TEST name other sources, MODEL the
# model to start from, NODES and GPUS the machines of the training and the GPUs of each, SHARDS the jobs that embed,
# EMBED their options. When a step fails, those after it stay in the queue with the reason DependencyNeverSatisfied,
# until `scancel`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
run=$1
data=${DATA:-$PWD}
train=${TRAIN:-mmeb-train --root $data/MMEB-train}
test=${TEST:-mmeb-v2 --root $data/MMEB-V2}
model=${MODEL:-Qwen/Qwen2-VL-2B-Instruct}
export VLM2VEC_MEDIA_ROOT=$data # what rows refer to, in all jobs

mkdir -p "$run"
cd "$run"
# job NAME OPTIONS...: the id of a new job
job() { sbatch --parsable --job-name="$1" "${@:2}"; }
cpu=(--ntasks=1 --cpus-per-task=8 --output=%x-%j.log)

rows=$(job test "${cpu[@]}" --wrap "vlm2vec prepare $test -o test.jsonl")
pairs=$(job pairs "${cpu[@]}" --wrap "vlm2vec prepare $train -o pairs.jsonl")
mined=$(job mine "${cpu[@]}" --gpus-per-node=1 --dependency="afterok:$pairs" \
  --wrap "vlm2vec mine-negatives pairs.jsonl -m $model --num-negatives 3 --relative-margin 0.05 -o mined.jsonl")
trained=$(job train --nodes="${NODES:-1}" --ntasks-per-node="${GPUS:-8}" --gpus-per-node="${GPUS:-8}" \
  --dependency="afterok:$mined" \
  "$here/train.sbatch" mined.jsonl model -m "$model" "${@:2}")
vectors=$(job embed --array="0-$((${SHARDS:-8} - 1))" --dependency="afterok:$rows:$trained" \
  "$here/embed.sbatch" test.jsonl vectors -m model ${EMBED:-})
scores=$(job score --dependency="afterok:$vectors" "$here/score.sbatch" vectors scores.jsonl)

printf '%s\n' "test $rows" "pairs $pairs" "mine $mined" "train $trained" "embed $vectors" "score $scores"
