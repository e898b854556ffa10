"""Parquet: one file, or a folder of part files, becomes an Arrow table."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from thresher.data.files import READABLE, reading
from thresher.data.wording import listed, quoted
from thresher.errors import DataError

__all__ = ["SPLIT_NAME", "part_files", "read_parquet"]

SPLIT_NAME = re.compile(r"(train|training|test|val|valid|validation|dev)(?![a-z])", re.IGNORECASE)


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file, or all part files below a folder in the order of their paths.

    Folders named key=value become columns. Parts may lack columns that others have (null there).
    A path whose last part holds "*", such as train-*.parquet, is read as the files it matches.

    Raises:
        DataError: No part files, parts of different splits, or a damaged file.
    """
    if path.is_file():
        with reading(path, "Parquet"):
            # buffering ahead pays on networks only, and doubles the memory
            return pq.read_table(path, partitioning=None, pre_buffer=False)
    pattern = "*" in path.name
    parts = sorted(path.parent.glob(path.name)) if pattern else part_files(path)
    if not parts:
        raise DataError(f"No file matches {path}.", "Check the path.")
    from pyarrow import dataset  # loads pandas, some 40 MB that a review does without

    schemas = []
    for part in parts:
        with reading(part, "Parquet"):
            schemas.append(pq.read_schema(part))
    with reading(path, "a folder of Parquet files"):
        open_parts = partial(
            dataset.dataset,
            [str(part) for part in parts],
            format="parquet",
            partitioning=dataset.partitioning(flavor="hive"),
            partition_base_dir=str(path.parent if pattern else path),
        )
        schemas.append(open_parts().schema)  # knows the columns that folders name
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return open_parts(schema=schema.with_metadata(schemas[0].metadata)).to_table()


def part_files(folder: Path) -> list[Path]:
    """Find the Parquet files below a folder, hidden ones and those that start with "_" aside.

    Raises:
        DataError: There are none, or they are the training and test data of one set.
    """
    with reading(folder, "a folder"):
        below = sorted(
            each
            for each in folder.rglob("*")
            if not any(name[0] in "._" for name in each.relative_to(folder).parts)
        )
    parts = [each for each in below if each.suffix.lower() == ".parquet" and each.is_file()]
    if not parts:
        others = [quoted(each.name) for each in below if each.suffix.lower() in READABLE]
        raise DataError(
            f"The folder {folder} holds no Parquet files and no images.",
            f"Name one of its files: {listed(others)}."
            if others
            else f"Name a file that ends in {listed(READABLE)}.",
        )
    splits = {
        found.group(1).lower(): part
        for part in parts
        for found in [SPLIT_NAME.match(part.relative_to(folder).parts[0])]
        if found
    }
    if len(splits) > 1:
        names = listed(quoted(part.relative_to(folder)) for part in splits.values())
        raise DataError(
            f"The folder {folder} holds several splits: {names}.",
            "Name the training file, and give the test file on its own.",
        )
    return parts
