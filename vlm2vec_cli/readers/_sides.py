"""The sides of training pairs by the column: structs of text and references, nulls where there is nothing.

Rows whose media are not there, by their number in the frame, go into `bad`, each with its first error.
"""

from collections.abc import Collection
from typing import Protocol, TypeAlias

import polars as pl

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.readers._text import IMAGE, LEGACY

KEPT_NAMES = 200_000
Bad: TypeAlias = dict[int, UserError]


class Media(Protocol):
    """Finds media by their names."""

    def reference(self, kind: str, name: str) -> str:
        """The reference of a medium of a `kind`, image or video. Raises UserError for none."""
        ...

    def prefix(self, folder: str, names: Collection[str]) -> str | None:
        """What references to all of `names` in `folder` begin with; None if it is not found at once."""
        ...


class Sides:
    """Makes the sides; of the names met last it is known where they lead."""

    def __init__(self, entry: Entry, raw: Raw, media: Media) -> None:
        self._media, self._known = media, dict[str, str]()
        self._num_frames = with_frames({"video": ""}, entry, raw).get("num_frames")

    def side(self, frame: pl.DataFrame, text: str, picture: str, clip: str, bad: Bad) -> pl.Series:
        """The query or positive of each row, from the columns of its text, picture and clip."""
        fields: list[pl.Expr | pl.Series] = [_visible(pl.col(text)).alias("text")]
        for name, kind in ((picture, "image"), (clip, "video")):
            if frame[name].null_count() < len(frame):
                fields.append(self._references(frame[name], kind, bad))
                if kind == "video" and self._num_frames:
                    count = pl.when(pl.col(name).is_not_null()).then(pl.lit(self._num_frames))
                    fields.append(count.alias("num_frames"))
        return frame.select(pl.struct(fields)).to_series()

    def negatives(self, frame: pl.DataFrame, text: str, picture: str, shared: str, bad: Bad) -> pl.Series:
        """A list of sides a row, from columns of single values or of lists.

        A picture without text takes the text in the column `shared`.
        """
        rows = frame.select(
            pl.int_range(pl.len()).alias("row"), pl.col(shared).alias("shared"),
            pl.col(text).alias("text"), pl.col(picture).alias("image"),
        )  # fmt: skip
        single = rows["text"].dtype == rows["image"].dtype == pl.String
        long = (rows if single else _exploded(rows, bad)).with_columns(present("text"), present("image"))
        there = pl.any_horizontal(pl.col("text", "image").is_not_null())
        if not single:
            long = long.filter(there)
        wrong: Bad = {}
        own = pl.when(pl.col("image").is_null()).then(pl.col("text")).otherwise(pl.coalesce("text", "shared"))
        fields: list[pl.Expr | pl.Series] = [_visible(own).alias("text")]
        if long["image"].null_count() < len(long):
            fields.append(self._references(long["image"], "image", wrong))
        for at, error in wrong.items():
            bad.setdefault(long["row"][at], error)
        made = long.select("row", pl.struct(fields).alias("side"), there.alias("there"))
        kind = pl.List(made["side"].dtype)
        if single:
            listed = pl.when("there").then(pl.concat_list("side")).otherwise(pl.lit([], dtype=kind))
            return made.select(listed.alias("side")).to_series()
        grouped = made.group_by("row", maintain_order=True).agg("side")
        joined = rows.select("row").join(grouped, on="row", how="left", maintain_order="left")
        return joined.select(pl.col("side").fill_null(pl.lit([], dtype=kind))).to_series()

    def _references(self, names: pl.Series, kind: str, bad: Bad) -> pl.Series:
        """Where names lead."""
        if (whole := self._whole(names, kind)) is not None:
            return whole.alias(kind)
        if len(self._known) > KEPT_NAMES:
            self._known.clear()
        listed = names.to_list()
        known = self._known.get
        found = [name and known(name) for name in listed]
        unknown = found.count(None) > names.null_count()
        for at, name in enumerate(listed) if unknown else ():
            if name and not found[at]:
                try:
                    found[at] = self._known[name] = known(name) or self._media.reference(kind, name)
                except UserError as error:
                    bad.setdefault(at, error)
        return pl.Series(kind, found, pl.String)

    def _whole(self, names: pl.Series, kind: str) -> pl.Series | None:
        """Where names lead that are all found in the folder of the first, as most are."""
        first = names[names.is_not_null().arg_max() or 0] if names.null_count() < len(names) else ""
        folder = first[: first.rfind("/") + 1]
        if not first or not names.str.starts_with(folder).all():
            return None
        try:
            self._media.reference(kind, first)  # so that it is known which place has them
        except UserError:
            return None
        bare = names.str.strip_prefix(folder)
        prefix = self._media.prefix(folder, bare.drop_nulls().to_list())
        return None if prefix is None else prefix + bare


def present(name: str) -> pl.Expr:
    """A column with empty texts as nulls."""
    return pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)


def _visible(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(LEGACY, IMAGE, literal=True)


def _exploded(rows: pl.DataFrame, bad: Bad) -> pl.DataFrame:
    """A row for each negative. Texts and pictures that are not equally many, and neither none, are `bad`."""
    parts = []
    for name in ("text", "image"):
        column = pl.col(name) if isinstance(rows[name].dtype, pl.List) else pl.concat_list(name)
        part = rows.select("row", column.alias(name)).with_columns(
            pl.int_ranges(pl.col(name).list.len()).alias("at")
        )
        parts.append(part.explode(name, "at").drop_nulls("at"))
    counts = parts[0].group_by("row").len("texts").join(parts[1].group_by("row").len("images"), on="row")
    for row, texts, images in counts.filter(pl.col("texts") != pl.col("images")).rows():
        bad.setdefault(row, DataError(f"neg_text has {texts} entries, neg_image_path has {images}"))
    whole = parts[0].join(parts[1], on=["row", "at"], how="full", coalesce=True).sort("row", "at")
    return whole.join(rows.select("row", "shared"), on="row", how="left", maintain_order="left")
