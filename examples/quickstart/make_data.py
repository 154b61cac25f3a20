"""Write the quickstart data: twelve small real tasks in the raw layouts of MMEB-train and MMEB-V2.

    python -m vlm2vec_cli.quickstart.make_data DEMO_DIR

`DEMO_DIR` holds the source: `images/`, `videos/`, a PDF, and `tasks/NAME/{corpus,train,test}.jsonl`. What is
learned and what is asked decides `honest_split.py`. What differs from the two originals, all of it so that
the data stays small:

* Training pairs with a clip have it in two more columns, `qry_video_path` and `pos_video_path`, relative to
  `mmeb-train/`; MMEB-train has no clips. Pages are `pages/FILE.pdf#page=N` in `pos_image_path`.
* `image-tasks/mmeb_v1.zip` instead of `mmeb_v1.tar.gz`, with the same inner paths, `MMEB/...`: a tar of so
  many small files would be a fifth larger. The query pictures of `i2v` are in a tar.
* The clips of both clip tasks lie once, as files. Clips that no query of `t2v` asks for are the rows of
  `annotations/Quickstart_t2v/corpus-00000-of-00001.parquet`; they are candidates as well.
* The corpora of the document tasks name pages of one PDF, with paths relative to `mmeb-v2/`.
* Pictures are stored with better Huffman tables, an eighth smaller, pixel for pixel the same (that needs
  `pip install mozjpeg-lossless-optimization`), and the PDF with its objects packed.

The output is the same to the byte for the same source and the same versions of zlib, pyarrow, pymupdf
and that package: everything is in source order, archive members are sorted and dated 1980-01-01. One file,
since the tasks share the archives that they are written to.
"""

import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli.quickstart import checks
from vlm2vec_cli.quickstart.honest_split import Row, Split, Task, answer, build
from vlm2vec_cli.quickstart.task_facts import (
    CLIPS,
    FACTS,
    PDF,
    PREFIX,
    QUERY_PICTURES,
    entry,
    instruction,
    query_text,
    target_text,
    train_entry,
)

HERE = Path(__file__).resolve().parent
TRAIN, EVAL = "mmeb-train", "mmeb-v2"
COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")
TEST_FILE = "test-00000-of-00001.parquet"
STRINGS = pa.list_(pa.string())
FRAMES = pa.list_(pa.struct([("output_path", pa.string())]))


class Writer:
    """Collects the media that rows refer to, and writes everything below `out`."""

    def __init__(self, demo: Path, out: Path) -> None:
        self.demo, self.out = demo, out
        self.learned: set[str] = set()
        self.asked: set[str] = set()

    def table(self, path: str, rows: list[Row], types: Mapping[str, pa.DataType]) -> None:
        """Write one Parquet file, with the columns of `types` in their order."""
        schema = pa.schema(list(types.items()))
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), self.out / path, compression="zstd")

    def copy(self, source: str, path: str) -> None:
        """Copy one file of the source."""
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_bytes((self.demo / source).read_bytes())

    def picture(self, source: str) -> bytes:
        """One JPEG of the source, the same pixels in fewer bytes."""
        from mozjpeg_lossless_optimization import optimize

        smaller: bytes = optimize((self.demo / source).read_bytes())
        return smaller

    def pdf(self, path: str) -> None:
        """Write the PDF of the source with its objects packed; its pages stay as they are."""
        import pymupdf

        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        with pymupdf.open(self.demo / PDF) as document:
            document.save(self.out / path, garbage=4, deflate=True, use_objstms=1, no_new_id=True)

    def zip(self, path: str, members: Mapping[str, str]) -> None:
        """Write an archive of `members`, name to source."""
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.out / path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(members):
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
                info.external_attr = 0o644 << 16
                archive.writestr(info, self.picture(members[name]))

    def tar(self, path: str, members: Mapping[str, str]) -> None:
        """Write an uncompressed tar of `members`, name to source."""
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(self.out / path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in sorted(members):
                data = self.picture(members[name])
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(data), 0o644, 315532800
                archive.addfile(info, io.BytesIO(data))


def learned_path(picture: str) -> str:
    """Where a picture of a training pair lies below `mmeb-train/`.

    >>> learned_path("pages/guide/007.jpg"), learned_path("images/noto/1f435.jpg")
    ('pages/reportlab-userguide.pdf#page=7', 'images/Quickstart/Train/noto/1f435.jpg')
    """
    if picture.startswith("pages/"):
        return f"pages/{PDF}#page={int(PurePosixPath(picture).stem)}"
    return picture.replace("images/", "images/Quickstart/Train/")


def asked_path(picture: str) -> str:
    """What evaluation rows call a picture.

    >>> asked_path("images/noto/1f435.jpg")
    'Quickstart/noto/1f435.jpg'
    """
    return picture.replace("images/", "Quickstart/")


def write_train(writer: Writer, task: Task) -> None:
    """Write the subset of one task in the layout of MMEB-train."""
    facts, rows = FACTS[task.name], []
    listed = any("negatives" in pair for pair in task.train)
    for pair in task.train:
        query, positive = pair["query"], pair["positive"]
        row: Row = dict.fromkeys(COLUMNS, "")
        row["qry"] = query_text(facts, query.get("text", ""))
        row["pos_text"] = target_text(facts, positive.get("text", ""))
        if listed:
            row["neg_text"] = [target_text(facts, one.get("text", "")) for one in pair["negatives"]]
            pictures = [one["image"] for one in pair["negatives"] if "image" in one]
            row["neg_image_path"] = [learned_path(one) for one in pictures]
            writer.learned.update(pictures)
        for side, column in ((query, "qry"), (positive, "pos")):
            if "image" in side:
                row[f"{column}_image_path"] = learned_path(side["image"])
                if not side["image"].startswith("pages/"):
                    writer.learned.add(side["image"])
            if facts.modality == "video":
                row[f"{column}_video_path"] = side.get("video", "")
                if "video" in side:
                    writer.copy(side["video"], f"{TRAIN}/{side['video']}")
        rows.append(row)
    columns = {name: STRINGS if listed and name.startswith("neg") else pa.string() for name in rows[0]}
    writer.table(f"{TRAIN}/{PREFIX}{task.name}/original-00000-of-00001.parquet", rows, columns)


def pool(task: Task, query: Row) -> list[Row]:
    """The candidates of a query, the right one first."""
    corpus = {row["id"]: row for row in task.corpus}
    right = answer(query)
    ids = [i for i in (query["candidates"] or corpus) if i != right]
    return [corpus[i] for i in (right, *ids)]


def write_image_task(writer: Writer, task: Task) -> None:
    """Write the annotations of one image task."""
    facts, rows = FACTS[task.name], []
    for query in task.test:
        offered = pool(task, query)
        writer.asked.update(one["image"] for one in (query, *offered) if "image" in one)
        rows.append(
            {
                "qry_inst": instruction(facts, "query"),
                "qry_text": query.get("text", ""),
                "qry_img_path": asked_path(query.get("image", "")),
                "tgt_inst": instruction(facts, "target"),
                "tgt_text": [one.get("text", "") for one in offered],
                "tgt_img_path": [asked_path(one.get("image", "")) for one in offered],
            }
        )
    types = {name: STRINGS if name in ("tgt_text", "tgt_img_path") else pa.string() for name in rows[0]}
    writer.table(f"{EVAL}/annotations/{PREFIX}{task.name}/{TEST_FILE}", rows, types)


def write_clip_tasks(writer: Writer, t2v: Task, i2v: Task) -> None:
    """Write the two clip tasks: captions with their clips and the rest, and pictures with all clips."""
    files = {row["id"]: PurePosixPath(row["video"]).name for row in t2v.corpus}
    for row in t2v.corpus:
        writer.copy(row["video"], f"{EVAL}/{CLIPS}/{files[row['id']]}")
    named = {i: {"video_id": PurePosixPath(file).stem, "video": file} for i, file in files.items()}
    asked = [{**named[answer(query)], "caption": query["text"]} for query in t2v.test]
    rest = [named[i] for i in files if i not in {answer(query) for query in t2v.test}]
    folder = f"{EVAL}/annotations/{PREFIX}t2v"
    columns = {"video_id": pa.string(), "video": pa.string()}
    writer.table(f"{folder}/{TEST_FILE}", asked, {**columns, "caption": pa.string()})
    writer.table(f"{folder}/corpus-00000-of-00001.parquet", rest, columns)

    rows, members = [], {}
    for query in i2v.test:
        right, *others = [{"output_path": PurePosixPath(one["video"]).name} for one in pool(i2v, query)]
        frames = {"positive_frames": [right], "negative_frames": others}
        rows.append({"query": "", "input_frames": query["image"], **frames})
        members[f"{PREFIX}i2v/query_{query['image']}"] = query["image"]
    types = {"query": pa.string(), "input_frames": pa.string()}
    types |= {"positive_frames": FRAMES, "negative_frames": FRAMES}
    writer.table(f"{EVAL}/annotations/{PREFIX}i2v/{TEST_FILE}", rows, types)
    writer.tar(f"{EVAL}/{QUERY_PICTURES}.tar", members)


def write_document_task(writer: Writer, task: Task) -> None:
    """Write queries, pages and relevance of one document task."""
    folder = f"{EVAL}/visdoc-tasks/data/{PREFIX}{task.name}"
    numbers = {query["qid"]: f"{number:03d}" for number, query in enumerate(task.test)}
    queries = [{"query-id": numbers[query["qid"]], "query": query["text"]} for query in task.test]
    paths = {row["id"]: f"visdoc-tasks/{PDF}#page={int(row['id'][1:])}" for row in task.corpus}
    pages = [{"corpus-id": i, "image": {"bytes": None, "path": path}} for i, path in paths.items()]
    judged = [
        {"query-id": numbers[query["qid"]], "corpus-id": page, "score": gain}
        for query in task.test
        for page, gain in query["positives"].items()
    ]
    text = pa.string()
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    writer.table(f"{folder}/queries/{TEST_FILE}", queries, {"query-id": text, "query": text})
    writer.table(f"{folder}/corpus/{TEST_FILE}", pages, {"corpus-id": text, "image": image})
    relevance = {"query-id": text, "corpus-id": text, "score": pa.int64()}
    writer.table(f"{folder}/qrels/{TEST_FILE}", judged, relevance)


def catalogue(split: Split) -> dict[str, Any]:
    """What `tasks.json` says: the tasks, the training subsets, and the split."""
    tasks, train = [], []
    for name, task in split.tasks.items():
        sizes = [len(query["candidates"] or task.corpus) for query in task.test]
        tasks.append(entry(name, len(task.test), sizes))
        train.append(train_entry(name, len(task.train)))
    return {"tasks": tasks, "train": train, "split": checks.summary(split)}


def lines(rows: Iterable[Any]) -> str:
    """A JSON list with an element a line."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"


def write(demo: Path, out: Path) -> None:
    """Write all data below `out`, over what is there."""
    parts: dict[str, str] = json.loads((HERE / "scene_things.json").read_text(encoding="utf-8"))
    split = build(demo, checks.scenes(parts), parts)
    checks.check(split, parts)
    for folder in (TRAIN, EVAL, "licences"):
        shutil.rmtree(out / folder, ignore_errors=True)
    writer = Writer(demo, out)
    for name, task in split.tasks.items():
        write_train(writer, task)
        if FACTS[name].modality == "image":
            write_image_task(writer, task)
        elif FACTS[name].modality == "visdoc":
            write_document_task(writer, task)
    write_clip_tasks(writer, split.tasks["t2v"], split.tasks["i2v"])
    writer.zip(f"{TRAIN}/images_zip/Quickstart.zip", {learned_path(one): one for one in writer.learned})
    writer.zip(f"{EVAL}/image-tasks/mmeb_v1.zip", {f"MMEB/{asked_path(one)}": one for one in writer.asked})
    writer.pdf(f"{TRAIN}/pages/{PDF}")
    writer.pdf(f"{EVAL}/visdoc-tasks/{PDF}")
    for file in sorted((demo / "licences").glob("*.txt")):
        writer.copy(f"licences/{file.name}", f"licences/{file.name}")
    (out / "licences/SOURCES.txt").write_text(checks.SOURCES, encoding="utf-8")
    facts = catalogue(split)
    body = ",\n".join(f"{json.dumps(key)}: {lines(facts[key])}" for key in ("tasks", "train"))
    summary = json.dumps(facts["split"], ensure_ascii=False)
    (out / "tasks.json").write_text(f'{{\n{body},\n"split": {summary}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), HERE)
