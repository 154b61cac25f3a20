#!/usr/bin/env bash
# Makes the shipped checkpoint (`-m quickstart`): the quickstart's recipe, trained for as long as it helps, its
# pictures changed at random, stored in bfloat16.
#
#   bash examples/quickstart/make_checkpoint.sh [FOLDER]      default folder: out/checkpoint
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-out/checkpoint}
mkdir -p "$folder"
cd "$folder"

vlm2vec prepare quickstart --split train -o train.jsonl
vlm2vec train train.jsonl -m tiny --seed 42 --batch-size 64 --homogeneous 32 --loss symmetric_info_nce \
  --temperature 0.05 --learning-rate 1e-3 --weight-decay 0.05 --warmup-steps 50 --schedule cosine --augment \
  --max-steps "${STEPS:-2800}" --save-steps 100 --save-total-limit 2 --save-dtype bf16 -o trained > trained.log.jsonl

vlm2vec prepare quickstart -o test.jsonl
vlm2vec embed test.jsonl -m trained -o vectors.parquet
vlm2vec score vectors.parquet -o scores.jsonl
python "$here/above_chance.py" scores.jsonl

rm -rf "$here/checkpoint"
mkdir "$here/checkpoint"
cp trained/*.json trained/model.safetensors "$here/checkpoint/"
