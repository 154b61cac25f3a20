#!/usr/bin/env bash
# Makes the shipped checkpoint (`-m quickstart`): a recipe like the quickstart's, trained longer, in three passes. The
# second changes the pictures more and takes wrong options as hard negatives; the third starts from the mean of the
# first two. Stored in bfloat16. About an hour and a half on one core.
#
#   bash examples/quickstart/make_checkpoint.sh [FOLDER]      default folder: out/checkpoint
#
# The shipped weights were made with random changes of pictures drawn in another order: a new run ends with other
# weights, about as good.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-out/checkpoint}
mkdir -p "$folder"
cd "$folder"

recipe=(--full --seed 42 --batch-size 64 --homogeneous 32 --loss symmetric_info_nce --temperature 0.05
  --weight-decay 0.05 --warmup-steps 50 --schedule cosine --max-pixels 7056)

# mean FOLDER... OUT: a checkpoint whose weights are the means of the others' weights, in float32 or in DTYPE.
mean() {
  rm -rf "${!#}"
  cp -r "$1" "${!#}"
  python - "$@" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

*parts, out = map(Path, sys.argv[1:])
dtype = os.environ.get("DTYPE", "float32")
weights = [load_file(part / "model.safetensors") for part in parts]
means = {name: torch.stack([one[name].float() for one in weights]).mean(0) for name in weights[0]}
means = {name: tensor.to(getattr(torch, dtype)) for name, tensor in means.items()}
save_file(means, out / "model.safetensors", metadata={"format": "pt"})
config = json.loads((out / "config.json").read_text())
for part in (config, config["text_config"], config["vision_config"]):
    part["dtype"] = dtype
(out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
PYTHON
}

vlm2vec prepare quickstart --split train -o train.jsonl
sed '/Quickstart_choice_vqa/s/"negatives":\[[^]]*\]/"negatives":[]/' train.jsonl > plain.jsonl
vlm2vec train plain.jsonl -m tiny "${recipe[@]}" --learning-rate 6e-4 --augment light --max-steps 2500 \
  -o first > first.log.jsonl
vlm2vec train train.jsonl -m first "${recipe[@]}" --learning-rate 4e-4 --augment strong --max-steps 3000 \
  -o second > second.log.jsonl
mean first second middle
vlm2vec train plain.jsonl -m middle "${recipe[@]}" --learning-rate 4e-4 --augment light --max-steps 1000 \
  -o third > third.log.jsonl
DTYPE=bfloat16 mean third shipped

vlm2vec prepare quickstart -o test.jsonl
for model in first second third shipped; do
  vlm2vec embed test.jsonl -m "$model" -o "$model.parquet"
  vlm2vec score "$model.parquet" -o "$model.jsonl"
done
python "$here/above_chance.py" {first,second,third,shipped}.jsonl

rm -rf "$here/checkpoint"
cp -r shipped "$here/checkpoint"
du -sh "$here/checkpoint"
