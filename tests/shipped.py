"""Data that ship with scikit-learn, some labels made wrong, as tables and as files."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_digits, load_iris, load_wine

from thresher.run_folder import RunFolder

IRIS = ("setosa", "versicolor", "virginica")


def spoiled(labels, share=0.1, seed=0):
    """Give a share of the labels to another class; a class keeps most of its own."""
    random = np.random.default_rng(seed)
    labels = np.array(labels)
    names = np.unique(labels)
    for row in random.choice(len(labels), round(share * len(labels)), replace=False):
        labels[row] = random.choice(names[names != labels[row]])
    return labels


def iris(share=0.1):
    """150 rows of four numbers and the column species, in random order."""
    found = load_iris(as_frame=True)
    names = np.array(IRIS)[found.target]
    frame = found.data.set_axis(
        ["sepal length", "sepal width", "petal length", "petal width"], axis=1
    )
    return frame.assign(species=spoiled(names, share)).sample(frac=1, random_state=0)


def wine():
    """178 rows of thirteen numbers and the column target."""
    found = load_wine(as_frame=True)
    return found.data.assign(target=spoiled(found.target))


def digits(rows=300):
    """Images (rows, 8, 8) uint8 and the digits on them."""
    found = load_digits()
    return (found.images[:rows] * 15.9).astype(np.uint8), found.target[:rows]


def png(pixels):
    """The bytes of a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_table(rows=200):
    """Digits as PNG files in a column of bytes, with the names they had and a column label."""
    images, labels = digits(rows)
    return pd.DataFrame(
        {
            "image": [png(each) for each in images],
            "file_name": [f"scan {row:03d}.png" for row in range(rows)],
            "label": [f"digit {each}" for each in labels],
        }
    )


def tensors(run):
    """What a run remembers: name → array."""
    return load_file(RunFolder(run).history)


def metrics(run):
    """The lines of metrics.jsonl, without what differs from clock to clock."""
    lines = RunFolder(run).read_metrics()
    return [{name: value for name, value in each.items() if name != "seconds"} for each in lines]


def assert_same_run(first, second):
    """Two runs came to the same numbers, bit for bit; only the time they took may differ."""
    one, two = RunFolder(first), RunFolder(second)
    for file in ("config.json", "preprocess.json", "model.safetensors"):
        assert (one.model / file).read_bytes() == (two.model / file).read_bytes()
    assert pq.read_table(one.audit).equals(pq.read_table(two.audit), check_metadata=True)
    assert metrics(first) == metrics(second)
    assert tensors(first).keys() == tensors(second).keys()
    for name, values in tensors(first).items():
        np.testing.assert_array_equal(values, tensors(second)[name], err_msg=name, strict=True)


def contents(folder):
    """Every file below a folder: its path there → its bytes; folders → None."""
    folder = Path(folder)
    return {
        str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None
        for each in sorted(folder.rglob("*"))
    }
