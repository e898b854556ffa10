"""A folder of images with a folder for each class, where 10 % of the files lie in a wrong one.

python examples/image_folder.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

import thresher

# Handwritten digits as PNG files, train/<class>/<number>.png and test/<class>/<number>.png.
digits = load_digits()
draws = np.random.default_rng(0)
given = digits.target.copy()
wrong = np.flatnonzero(draws.random(1200) < 0.1)
given[wrong] = (given[wrong] + draws.integers(1, 10, len(wrong))) % 10

with tempfile.TemporaryDirectory() as place:
    root = Path(place)
    for number, (pixels, digit) in enumerate(zip(digits.images, given, strict=True)):
        folder = root / ("train" if number < 1200 else "test") / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / f"{number:04d}.png")

    result = thresher.fit(root / "train", test=root / "test", model="mlp", out=root / "run")

    audit = pq.read_table(root / "run" / "audit.parquet").to_pandas()
    suspects = audit[audit["is_label_issue"]].sort_values("rank")
    misplaced = suspects["path"].map(lambda path: int(Path(path).stem) in set(wrong))
    print(f"accuracy on the test folder  {result.summary['test_accuracy']:.1%}")
    print(f"{len(suspects)} files flagged, {misplaced.mean():.1%} of them lie in a wrong folder:")
    for path, suggested in suspects[["path", "suggested_label"]].head(3).itertuples(index=False):
        print(f"  {path} looks like a {suggested}")

    # New pictures, in whatever folder, or one alone.
    picture = next((root / "test" / "7").iterdir())
    print(f"predicted for a picture of a 7: {thresher.predict(root / 'run', picture).labels[0]}")
