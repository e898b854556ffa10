"""Benchmark of the review page: a million rows, in Chromium without a window.

    python benchmarks/review.py           texts, with pictures and histories for the first thousand
    python benchmarks/review.py --rows N

Measured are the start of the command, the memory of its process, and the time from a key to the
next sample on the screen: the browser notes when the key comes in, and when it has painted the
frame in which the number of the sample is another one. Keys come every fifth of a second, as people
press them, then a hundred as fast as they can be sent. Every decision is looked for in the log of
the run. The table is made up; it needs no training.

Where other programs want the processor too, the tail of the times is theirs: `nice -n -15` before
the command holds them off, and the line says so. Every call measures anew and appends its line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from cells import keep
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from thresher.audit.evidence_file import Evidence, write_evidence
from thresher.audit.table import write_table
from thresher.decisions import DecisionLog
from thresher.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "review.jsonl"
ROWS, CLASSES, EPOCHS = 10**6, 100, 30
PICTURES, SIDE = 1000, 128
PACED, PAUSE = 200, 200  # keys, milliseconds
BURST = 100
BAR_MILLISECONDS, BAR_MIB = 50, 300
PROGRAM = "from thresher.cli import main; main()"

# A message that is sent in a frame arrives when that frame has been painted.
WATCH = """
window.delays = [];
window.begun = null;
addEventListener('keydown', () => { window.begun = performance.now(); }, true);
addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
    const begun = window.begun;
    if (begun === null) return;
    window.begun = null;
    requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => window.delays.push(performance.now() - begun);
        channel.port2.postMessage(null);
    });
}).observe(document.getElementById('place'), {childList: true, subtree: true}));
"""


def audit_table(rows: int) -> pa.Table:
    """An audit in which one label in five is flagged."""
    random = np.random.default_rng(0)
    names = np.array([f"class {code:03d}" for code in range(CLASSES)], dtype=object)
    given = random.integers(CLASSES, size=rows)
    rank = random.permutation(rows).astype(np.int32) + 1
    texts = [f"row {row}: " + "words that were written about something " * 3 for row in range(rows)]
    table = pa.table(
        {
            "sample_id": [f"{row:016x}" for row in range(rows)],
            "split": pa.array(np.where(random.random(rows) < 0.1, "held-out", "train")),
            "given_label": pa.array(names[given]),
            "suggested_label": pa.array(names[(given + random.integers(1, 4, rows)) % CLASSES]),
            "label_score": (rank / (rows + 1)).astype(np.float32),
            "is_label_issue": rank <= rows // 5,
            "rank": rank,
            "p_given": random.random(rows).astype(np.float32) / 2,
            "p_suggested": random.random(rows).astype(np.float32) / 2 + np.float32(0.5),
            "reason": pa.array(["confident_rival"] * rows),
            "text": texts,
        }
    )
    facts = {"schema": 1, "classes": names.tolist(), "n": rows}
    return table.replace_schema_metadata({b"thresher": json.dumps(facts).encode()})


def make_run(path: Path, rows: int) -> RunFolder:
    """A finished run with that audit, and evidence of the most suspect ones."""
    random = np.random.default_rng(1)
    run = RunFolder.create(path)
    run.write_settings({"fit": {"epochs": EPOCHS}, "run": {"thresher": "0"}})
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(b"none")
    run.write_summary({"schema": 1})
    table = audit_table(rows)
    write_table(table, run.audit)

    def evidence(sample_id: str) -> tuple[str, Evidence]:
        buffer = BytesIO()
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        history = random.random(EPOCHS).astype(np.float32)
        return sample_id, Evidence(image=buffer.getvalue(), history=history)

    first = np.argsort(table["rank"].to_numpy())[:PICTURES]
    write_evidence(run.evidence, map(evidence, table["sample_id"].take(first).to_pylist()))
    run.finish()
    return run


def mebibytes(process: int, name: str) -> int:
    """VmRSS or VmHWM of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


def until(page: Page, expression: str) -> None:
    """Wait for something in the page, which lets nobody else evaluate what is given as text."""
    for _ in range(6000):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(10)
    raise TimeoutError(f"The page never came to {expression}.")


def delays(page: Page, expected: int) -> list[float]:
    """Milliseconds from each key to the next sample on the screen."""
    until(page, f"window.delays.length >= {expected}")
    found: list[float] = page.evaluate("window.delays.splice(0)")
    return found


def wait_until_saved(page: Page) -> None:
    until(page, "document.getElementById('saved').textContent === 'saved'")


def pressed(url: str) -> dict[str, Any]:
    """What the keys of one review take."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.add_init_script(WATCH)
        page.goto(url)
        page.wait_for_selector("#single:not([hidden])")
        for _ in range(PACED):
            page.wait_for_timeout(PAUSE)
            page.keyboard.press("Enter")
        paced = delays(page, PACED)
        wait_until_saved(page)
        began = time.perf_counter()
        for _ in range(BURST):
            page.keyboard.press("k")
        wait_until_saved(page)
        burst = time.perf_counter() - began
        page.keyboard.press("g")
        page.wait_for_selector(".tile")
        browser.close()
    return {
        "key_p50_ms": round(float(np.percentile(paced, 50)), 1),
        "key_p95_ms": round(float(np.percentile(paced, 95)), 1),
        "key_max_ms": round(max(paced), 1),
        "burst_keys": BURST,
        "burst_saved_s": round(burst, 2),
    }


def measured(folder: Path, rows: int) -> dict[str, Any]:
    """The figures of one review."""
    run = make_run(folder / "run", rows)
    command = [sys.executable, "-c", PROGRAM, "review", str(run.path), "--no-browser", "--json"]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(server.stdout.readline())["url"]  # type: ignore[union-attr]
        figures = {"start_s": round(time.perf_counter() - started, 1)} | pressed(url)
        figures |= {"rss_mib": mebibytes(server.pid, "VmRSS")}
        figures |= {"peak_mib": mebibytes(server.pid, "VmHWM")}
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    with DecisionLog(run.decisions, read_only=True) as log:
        words = [each.decision for each in log.current().values()]
    assert ["accept"] * PACED + ["keep"] * BURST == words
    return {"rows": rows, **figures, "bar_ms": BAR_MILLISECONDS, "bar_mib": BAR_MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", help="where the run is made; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        load = round(os.getloadavg()[0], 1)
        keep(
            "review",
            [measured(Path(folder), options.rows)],
            {"load": load, "nice": os.nice(0)},
            RESULTS,
        )


if __name__ == "__main__":
    main()
