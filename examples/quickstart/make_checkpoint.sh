#!/usr/bin/env bash
# Makes the shipped checkpoint (`-m quickstart`): the quickstart's recipe trained longer, its pictures changed at
# random, stored in bfloat16. About forty minutes on one core.
#
#   bash examples/quickstart/make_checkpoint.sh [FOLDER]      default folder: out/checkpoint
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-out/checkpoint}
mkdir -p "$folder"
cd "$folder"

vlm2vec prepare quickstart --split train -o train.jsonl
vlm2vec train train.jsonl -m tiny --seed 42 --batch-size 64 --homogeneous 32 --loss symmetric_info_nce \
  --temperature 0.05 --learning-rate 1e-3 --weight-decay 0.05 --warmup-steps 50 --schedule cosine --augment light \
  --max-steps 2800 --save-steps 100 --save-total-limit 2 -o trained > trained.log.jsonl

vlm2vec prepare quickstart -o test.jsonl
vlm2vec embed test.jsonl -m trained -o vectors.parquet
vlm2vec score vectors.parquet -o scores.jsonl
python "$here/above_chance.py" scores.jsonl

# Half the bytes: the scores above are those of float32; the README's are measured on what is shipped.
rm -rf "$here/checkpoint"
cp -r trained "$here/checkpoint"
rm -rf "$here"/checkpoint/checkpoint-*
python - "$here/checkpoint" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

folder = Path(sys.argv[1])
tensors = {name: value.to(torch.bfloat16) for name, value in load_file(folder / "model.safetensors").items()}
save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
config = json.loads((folder / "config.json").read_text())
for part in (config, config["text_config"], config["vision_config"]):
    part["dtype"] = "bfloat16"
(folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
PYTHON
du -sh "$here/checkpoint"
