#!/usr/bin/env bash
# The whole way on the data that ships with the package: raw files to rows, hard negatives, a model trained from
# nothing, its vectors beside those of the untrained model, scores and a report. Four to five minutes on two cores.
#
#   bash examples/quickstart/run.sh [FOLDER]      default folder: out/quickstart
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-out/quickstart}
started=$SECONDS
mkdir -p "$folder"
cd "$folder"
rm -rf untrained trained

say() { printf '\n== %s (%d s)\n' "$1" $((SECONDS - started)) >&2; }

# One recipe for both models: the untrained one is the trained one after no step. The weights are passes over a
# task's pairs in each epoch: fewer where there are many, more where there are few.
recipe=(-m tiny --seed 42 --batch-size 56 --homogeneous 28 --loss symmetric_info_nce --temperature 0.05
  --learning-rate 1e-3 --weight-decay 0.01 --warmup-steps 30 --schedule cosine --max-pixels 7056
  --dataset-weight '*_t2i=0.5' --dataset-weight '*_tags_to_seen=0.5' --dataset-weight '*_composed=0.5'
  --dataset-weight '*_grounding=1.5' --dataset-weight '*_i2v=2' --dataset-weight '*_t2v=3')

say "raw data to rows"
vlm2vec prepare quickstart --split train -o train.jsonl
vlm2vec prepare quickstart -o test.jsonl

say "the model before training"
vlm2vec train train.jsonl "${recipe[@]}" --max-steps 0 --resume none -o untrained > untrained.log.jsonl

# Rows are lines: grep picks the task whose negatives are worth their time here, cat puts the rows together again.
say "hard negatives for the names, near in the eyes of the shipped model"
grep '"dataset":"Quickstart_name_new_style"' train.jsonl |
  vlm2vec mine-negatives -q -m quickstart --num-negatives 3 --summary mined.summary.json -o mined.jsonl
grep -v '"dataset":"Quickstart_name_new_style"' train.jsonl | cat - mined.jsonl > pairs.jsonl

say "training"
vlm2vec train pairs.jsonl "${recipe[@]}" --max-steps "${STEPS:-700}" --resume none -o trained > trained.log.jsonl

for model in untrained trained; do
  say "vectors and scores, $model"
  vlm2vec embed test.jsonl -m "$model" -o "$model.vectors.parquet"
  vlm2vec score "$model.vectors.parquet" -o "$model.scores.jsonl" --per-query "$model.per-query.parquet"
done

say "report"
vlm2vec report untrained.scores.jsonl trained.scores.jsonl --title "vlm2vec quickstart" \
  --per-query untrained.per-query.parquet --per-query trained.per-query.parquet -o report.html
vlm2vec report untrained.scores.jsonl trained.scores.jsonl
python "$here/above_chance.py" untrained.scores.jsonl trained.scores.jsonl
printf '\n%d s in all. The report: %s\n' $((SECONDS - started)) "$PWD/report.html"
