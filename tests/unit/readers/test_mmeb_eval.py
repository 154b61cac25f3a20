"""The first MMEB: raw files in, exactly the rows that its description asks for."""

from pathlib import Path

import raw_tasks
from sources import prepared
from vlm2vec_cli import catalogue


def test_the_first_mmeb(tmp_path: Path) -> None:
    raw_tasks.mmeb_eval(tmp_path)
    facts = {"modality": "image", "main_metric": "hit@1"}
    voc = {
        "dataset": "VOC2007",
        "role": "query",
        **facts,
        "group": "I-CLS",
        "task_type": "image classification",
    }
    coco = {"dataset": "MSCOCO_t2i", "role": "query", **facts, "group": "I-RET",
            "task_type": "text-to-image retrieval"}  # fmt: skip
    shown = "<image>\nRepresent the given image.\n"
    keys = [f"MSCOCO/Test/{number}.jpg:<|image_1|>\nRepresent the given image.\n" for number in (1, 2)]
    assert prepared(tmp_path, "mmeb-eval") == [
        {**voc, "id": "1", "text": "<image>\nIdentify the object shown in the image\n",
         "image": "images.zip!images/VOC2007/Test/1.jpg", "relevant": {"cat": 1.0},
         "pool": ["cat", "dog", "<blank>"]},
        *({"id": key, "dataset": "VOC2007", "role": "candidate", "text": text}
          for key, text in (("cat", "cat"), ("dog", "dog"), ("<blank>", ""))),
        {**coco, "id": "1", "text": "Find me an everyday image that matches the given caption: a cat\n",
         "relevant": {keys[0]: 1.0}, "pool": keys},
        *({"id": key, "dataset": "MSCOCO_t2i", "role": "candidate", "text": shown,
           "image": f"images.zip!images/MSCOCO/Test/{number}.jpg"}
          for number, key in enumerate(keys, start=1)),
    ]  # fmt: skip
    assert len(catalogue.first_tasks()) == 36
