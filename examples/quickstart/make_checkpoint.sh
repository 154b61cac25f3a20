#!/usr/bin/env bash
# Makes the shipped checkpoint (`-m quickstart`): the quickstart's recipe trained longer, in two passes, the second
# one with stronger changes of the pictures and the wrong options as hard negatives; then the mean of both, stored
# in bfloat16. About an hour and a half on one core.
#
#   bash examples/quickstart/make_checkpoint.sh [FOLDER]      default folder: out/checkpoint
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-out/checkpoint}
mkdir -p "$folder"
cd "$folder"

recipe=(--full --seed 42 --batch-size 64 --homogeneous 32 --loss symmetric_info_nce --temperature 0.05
  --weight-decay 0.05 --warmup-steps 50 --schedule cosine --max-pixels 7056 --save-steps 250 --save-total-limit 2)

vlm2vec prepare quickstart --split train -o train.jsonl
sed '/Quickstart_choice_vqa/s/"negatives":\[[^]]*\]/"negatives":[]/' train.jsonl > plain.jsonl
vlm2vec train plain.jsonl -m tiny "${recipe[@]}" --learning-rate 6e-4 --augment light --max-steps 2500 \
  -o first > first.log.jsonl
vlm2vec train train.jsonl -m first "${recipe[@]}" --learning-rate 4e-4 --augment strong --max-steps 3000 \
  -o second > second.log.jsonl

rm -rf mean
cp -r second mean
rm -rf mean/checkpoint-*
python - first second mean <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

*parts, mean = (Path(folder) for folder in sys.argv[1:])
weights = [load_file(part / "model.safetensors") for part in parts]
tensors = {
    name: torch.stack([one[name].float() for one in weights]).mean(0).to(torch.bfloat16) for name in weights[0]
}
save_file(tensors, mean / "model.safetensors", metadata={"format": "pt"})
config = json.loads((mean / "config.json").read_text())
for part in (config, config["text_config"], config["vision_config"]):
    part["dtype"] = "bfloat16"
(mean / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
PYTHON

vlm2vec prepare quickstart -o test.jsonl
for model in first second mean; do
  vlm2vec embed test.jsonl -m "$model" -o "$model.parquet"
  vlm2vec score "$model.parquet" -o "$model.jsonl"
done
python "$here/above_chance.py" {first,second,mean}.jsonl

rm -rf "$here/checkpoint"
cp -r mean "$here/checkpoint"
du -sh "$here/checkpoint"
