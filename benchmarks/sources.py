"""Benchmark of the sources: listing a million files, decoding once, batches, memory of workers.

    python benchmarks/sources.py listing    10⁶ empty files in 1,000 class folders
    python benchmarks/sources.py decoding   10,000 JPEGs decoded once; augmented images a second
    python benchmarks/sources.py photos     photos of 12 million pixels, brought to 224 on a side
    python benchmarks/sources.py workers    memory of a DataLoader with 4 workers, and without
    python benchmarks/sources.py table      results/sources.jsonl → results/sources.md

The peer is what most training scripts do: a list of paths, and for each row Pillow, a padded random
crop and a flip. Every call measures anew and appends its lines; the newest line of a case counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from cells import keep, read_lines
from PIL import Image
from tables import table

RESULTS = Path(__file__).parent / "results" / "sources.jsonl"
CLASSES, FILES = 1000, 1000  # listing
IMAGES, SIDE, BATCH, EPOCHS = 10_000, 32, 128, 5
LINKED = 100_000  # workers: hard links to the images, so that the pixels exceed 256 MiB
PHOTOS, PHOTO_SIDE = 40, (4000, 3000)
WORKERS = 4

HEAD = """# Sources: listing, decoding, memory of workers

Made by `python benchmarks/sources.py table` from sources.jsonl; do not edit. Images are smooth \
random colours with noise, JPEG quality 90.

"""


# ---------------------------------------------------------------------- data
def write_images(root: Path) -> None:
    """10,000 JPEGs of 32 × 32 in ten class folders."""
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        small = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        pixels = smooth + generator.normal(0, 8, smooth.shape)
        folder = root / f"class{number % 10}"
        folder.mkdir(exist_ok=True)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number}.jpg", quality=90)


def link_images(root: Path, count: int) -> None:
    """More names for the same images."""
    files = sorted(root.rglob("*.jpg"))
    for number in range(count - len(files)):
        file = files[number % len(files)]
        os.link(file, file.with_name(f"{file.stem}_{number}.jpg"))


# ---------------------------------------------------------------------- listing
def listing(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A million empty files, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        for number in range(CLASSES):
            folder = Path(root) / f"n{number:08d}"
            folder.mkdir()
            for file in range(FILES):
                (folder / f"n{number:08d}_{file}.jpg").touch()
        figures = in_its_own_process("list", root)
        yield {
            "case": f"{CLASSES * FILES:,} files in {CLASSES:,} class folders",
            **figures,
            "bar": {"seconds": 10, "peak_mib": 500},
        }


def list_once(root: str) -> dict[str, Any]:
    """Paths and labels of a folder; seconds, and the most memory that the process had."""
    from thresher.data.folders import list_images, read_image_folder
    from thresher.data.labels import read_labels

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    folder = read_image_folder(Path(root), list_images(Path(root)))
    assert folder.labels is not None
    labels = read_labels(folder.labels, name="folders")
    seconds = time.perf_counter() - started
    assert len(labels.values) == CLASSES * FILES
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": round(seconds, 2),
        "peak_mib": round(after / 1024, 1),
        "above_imports_mib": round((after - before) / 1024, 1),
    }


# ---------------------------------------------------------------------- decoding
def decoding(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Decode once, then take augmented batches from the map; the peer decodes every time."""
    import torch

    from thresher.data import images, open_data
    from thresher.keyed_random import keyed_seed
    from thresher.models import Preparation
    from thresher.training.augment import Augmentation
    from thresher.training.loop import Rows
    from thresher.training.predict import as_tensor

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "images"
        root.mkdir()
        write_images(root)
        seconds = []
        with patch.object(images, "IN_MEMORY_BYTES", 0):  # 30 MB would stay in memory
            for turn in range(3):
                started = time.perf_counter()
                samples = open_data(root, scratch=Path(folder) / f"state{turn}")
                seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        with patch.object(images, "IN_MEMORY_BYTES", 0):
            open_data(root, scratch=Path(folder) / "state2")
        resumed = time.perf_counter() - started
        inputs = as_tensor(samples.inputs)
        labels, rows = torch.from_numpy(samples.labels), torch.arange(len(samples))
        scaled = Preparation.fit(samples.inputs)
        rates: dict[str, list[float]] = {"augmented": [], "augmented and scaled": []}
        for epoch in range(EPOCHS):
            for name, prepare in (("augmented", lambda x: x), ("augmented and scaled", scaled)):
                source = Rows(inputs, labels, rows, prepare, Augmentation(("crop", "flip"), 0))
                generator = torch.Generator().manual_seed(keyed_seed(0, "order", epoch))
                order = torch.randperm(len(rows), generator=generator)
                started = time.perf_counter()
                for index in order.split(BATCH):
                    source.batch(index, epoch, torch.device("cpu"))
                rates[name].append(len(rows) / (time.perf_counter() - started))
        peer = [peer_rate(root, workers) for workers in (0, 2) for _ in range(2)]
        yield {
            "case": f"{IMAGES:,} JPEGs of {SIDE} × {SIDE}",
            "decoded_per_second": round(IMAGES / min(seconds)),
            "resumed_seconds": round(resumed, 3),
            "images_per_second": {name: round(float(np.median(r))) for name, r in rates.items()},
            "peer_per_second": {
                "0 workers": round(max(peer[:2])),
                "2 workers": round(max(peer[2:])),
            },
            "bar": 20_000,
            "threads": options.threads,
        }


def peer_rate(root: Path, workers: int) -> float:
    """Augmented images a second of a plain data set behind a DataLoader, one epoch."""
    from torch.utils.data import DataLoader

    loader = DataLoader(PlainFolder(root), batch_size=BATCH, shuffle=True, num_workers=workers)
    started = time.perf_counter()
    count = sum(len(labels) for _, labels in loader)
    return count / (time.perf_counter() - started)


class PlainFolder:
    """A list of paths and labels; a row is decoded, cropped and flipped when it is asked for."""

    def __init__(self, root: Path) -> None:
        names = sorted(each.name for each in root.iterdir())
        self.rows = [
            (str(path), label)
            for label, name in enumerate(names)
            for path in sorted((root / name).iterdir())
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        import torch

        path, label = self.rows[row]
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        padded = torch.nn.functional.pad(pixels, (4, 4, 4, 4))
        down, right, flip = torch.randint(0, 9, (3,)).tolist()
        view = padded[:, down : down + SIDE, right : right + SIDE]
        return (view.flip(2) if flip % 2 else view).clone(), label


# ---------------------------------------------------------------------- photos
def photos(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Large JPEGs, decoded at a fraction of their size; the peer decodes them whole."""
    from thresher.data import open_data

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        generator = np.random.default_rng(0)
        for number in range(PHOTOS):
            small = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize(PHOTO_SIDE, Image.Resampling.BICUBIC)
            path = Path(folder) / f"class{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            image.save(path, quality=90)
        started = time.perf_counter()
        samples = open_data(Path(folder))
        ours = time.perf_counter() - started
        height, width = samples.inputs.shape[1:3]
        started = time.perf_counter()
        for path in samples.paths.to_pylist():
            with Image.open(Path(folder) / path) as image:
                whole = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
                np.asarray(whole)
        peer = time.perf_counter() - started
        yield {
            "case": f"{PHOTOS} photos of {PHOTO_SIDE[0]} × {PHOTO_SIDE[1]}",
            "size": [int(width), int(height)],
            "ms_a_photo": round(1e3 * ours / PHOTOS, 1),
            "peer_ms_a_photo": round(1e3 * peer / PHOTOS, 1),
            "gb_per_10000": round(1e4 * samples.inputs[0].nbytes / 1e9, 2),
            "gb_per_10000_whole": round(1e4 * 3 * PHOTO_SIDE[0] * PHOTO_SIDE[1] / 1e9, 0),
        }


# ---------------------------------------------------------------------- workers
def workers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Proportional memory of a loader's process and its workers, in the middle of an epoch."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "images"
        root.mkdir()
        write_images(root)
        link_images(root, LINKED)
        measured = {
            name: {
                count: in_its_own_process("load", name, str(count), folder)["pss_mib"]
                for count in (0, WORKERS)
            }
            for name in ("thresher", "peer")
        }
        for name, found in measured.items():
            yield {
                "case": f"{LINKED:,} images of {SIDE} × {SIDE}, {name}",
                "pss_mib": {str(count): mib for count, mib in found.items()},
                "quotient": round(found[WORKERS] / found[0], 3),
                "bar": 1.2 if name == "thresher" else None,
            }


def load_half(name: str, count: int, folder: str) -> dict[str, Any]:
    """Take half an epoch of batches; count every page once over all processes."""
    import torch
    from torch.utils.data import DataLoader

    from thresher.data import Indexed, open_data

    torch.set_num_threads(1)
    root = Path(folder) / "images"
    data: Any = (
        PlainFolder(root)
        if name == "peer"
        else Indexed(open_data(root, scratch=Path(folder) / "state"))
    )
    loader = iter(DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=count))
    for _ in range(len(data) // BATCH // 2):
        next(loader)
    return {"pss_mib": round(proportional_mib(), 1)}


def proportional_mib() -> float:
    """Memory of this process and its children, shared pages by their share."""
    here = os.getpid()
    children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
    kib = 0
    for process in [here, *children]:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib / 1024


def in_its_own_process(*arguments: str) -> dict[str, Any]:
    """Figures of a fresh process, whose memory holds nothing else."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "inside", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


# ---------------------------------------------------------------------- the command
TASKS = {"listing": listing, "decoding": decoding, "photos": photos, "workers": workers}


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    lines = list({(line["task"], line["case"]): line for line in read_lines(results)}.values())
    rows = [cells for line in lines for cells in ROWS[line["task"]](line)]
    head = ["case", "figure", "thresher", "peer", "required", ""]
    results.with_suffix(".md").write_text(HEAD + table(head, rows))


def listing_rows(line: dict[str, Any]) -> list[list[str]]:
    bar = line["bar"]
    return [
        [line["case"], "s to list", f"{line['seconds']}", "", f"< {bar['seconds']}",
         verdict(line["seconds"] < bar["seconds"])],
        ["", "MiB at the peak, imports included", f"{line['peak_mib']:.0f}", "",
         f"< {bar['peak_mib']}", verdict(line["peak_mib"] < bar["peak_mib"])],
    ]  # fmt: skip


def decoding_rows(line: dict[str, Any]) -> list[list[str]]:
    rates, peer = line["images_per_second"], line["peer_per_second"]
    fastest = max(peer.values())
    return [
        [line["case"], "decoded a second, once", f"{line['decoded_per_second']:,}", "", "", ""],
        ["", "s to find the copy again", f"{line['resumed_seconds']}", "", "", ""],
        *(
            ["", f"{name}, a second", f"{rate:,}", f"{fastest:,}", f"≥ {line['bar']:,}",
             verdict(rate >= line["bar"])]
            for name, rate in rates.items()
        ),
    ]  # fmt: skip


def photos_rows(line: dict[str, Any]) -> list[list[str]]:
    width, height = line["size"]
    return [
        [line["case"], f"ms a photo, to {width} × {height}", f"{line['ms_a_photo']}",
         f"{line['peer_ms_a_photo']}", "", ""],
        ["", "GB for 10,000", f"{line['gb_per_10000']}", f"{line['gb_per_10000_whole']:.0f}", "",
         ""],
    ]  # fmt: skip


def workers_rows(line: dict[str, Any]) -> list[list[str]]:
    none, some = line["pss_mib"]["0"], line["pss_mib"][str(WORKERS)]
    figure = f"MiB with {WORKERS} workers / without"
    words = f"{some:.0f} / {none:.0f} = {line['quotient']:.2f}"
    if line["bar"] is None:
        return [[line["case"], figure, "", words, "", ""]]
    return [
        [line["case"], figure, words, "", f"≤ {line['bar']}",
         verdict(line["quotient"] <= line["bar"])]
    ]  # fmt: skip


ROWS = {
    "listing": listing_rows,
    "decoding": decoding_rows,
    "photos": photos_rows,
    "workers": workers_rows,
}


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def main() -> int:
    """Measure, print and keep; or write the table."""
    if sys.argv[1:2] == ["inside"]:
        name, *rest = sys.argv[2:]
        found = list_once(*rest) if name == "list" else load_half(rest[0], int(rest[1]), rest[2])
        print(json.dumps(found))
        return 0
    options = parse()
    if options.task == "table":
        write_table(options.results)
        return 0
    keep(options.task, TASKS[options.task](options), {}, options.results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=[*TASKS, "table"])
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (1)")
    parser.add_argument("--folder", type=Path, help="where the files are made (a temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSONL file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
