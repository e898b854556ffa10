"""results/sampling.jsonl → results/sampling.md: the newest line of every case against its bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from cells import Line, read_lines
from tables import table

__all__ = ["write_table"]

HEAD = """# The samplers

Made by `python benchmarks/sampling.py table` from sampling.jsonl; do not edit. Times are of the \
processor, one thread, medians of paired alternations; quotients with their quartiles.
"""


def write_table(results: Path) -> None:
    """Write the Markdown beside the JSONL file."""
    lines = list({(line["task"], line["case"]): line for line in read_lines(results)}.values())
    sections: dict[str, Callable[[list[Line]], str]] = {"draw": draw}
    written = [
        section(there)
        for task, section in sections.items()
        if (there := [line for line in lines if line["task"] == task])
    ]
    results.with_suffix(".md").write_text("\n".join([HEAD, *written]))


def draw(lines: list[Line]) -> str:
    """What a batch costs to draw."""
    numpy = [
        [
            line["case"],
            f"{line['ms']['numpy']:.2f}",
            f"{line['ms']['ours']:.3f}",
            spread(line["numpy/ours"]),
            f"≥ {line['bar']}",
            verdict(line["numpy/ours"][1] >= line["bar"]),
            f"{line['ms']['learning']:.3f}",
            spread(line["numpy/learning"]),
        ]
        for line in lines
        if "numpy/ours" in line
    ]
    grown = [
        [
            line["case"],
            f"{line['ms']['few']:.3f}",
            f"{line['ms']['many']:.3f}",
            spread(line["many/few"]),
            f"≤ {line['bar']}",
            verdict(line["many/few"][1] <= line["bar"]),
        ]
        for line in lines
        if "many/few" in line
    ]
    large = [
        [
            line["case"],
            f"{line['ms']['ours']:.2f}",
            f"≤ {line['bar']['ms']}",
            verdict(line["ms"]["ours"] <= line["bar"]["ms"]),
            f"{line['bytes']['kept']:.2f}",
            f"≤ {line['bar']['bytes']}",
            # tables over the levels are the same for any number of samples
            verdict(round(line["bytes"]["kept"], 1) <= line["bar"]["bytes"]),
            f"{line['bytes']['peak of a rebuild']:.2f}",
            f"{line['rebuild_s']:.1f}",
        ]
        for line in lines
        if "bytes" in line
    ]
    return paragraphs(
        "## Drawing a batch",
        "`python benchmarks/sampling.py draw`: distinct batches by binned thinning; nine samples "
        "of ten have scores above 0.9 (mean weight 0.03). Against `numpy.random.Generator."
        "choice(N, b, replace=False, p=p)` with the probabilities at hand; *learning* also writes "
        "new scores of the batch.",
        table(
            [
                "case",
                "NumPy, ms a batch",
                "ours",
                "times as fast",
                "bar",
                "met",
                "learning, ms",
                "times as fast",
            ],
            numpy,
        ),
        table(["case", "fewer, ms a batch", "more", "more / fewer", "bar", "met"], grown),
        table(
            [
                "case",
                "ms a batch",
                "bar",
                "met",
                "bytes a sample",
                "bar",
                "met",
                "most while rebuilding",
                "rebuild, s",
            ],
            large,
        ),
    )


def paragraphs(*parts: str) -> str:
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def spread(values: Iterable[float]) -> str:
    """Median, and quartiles in brackets."""
    low, middle, high = values
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def verdict(met: bool) -> str:
    return "yes" if met else "**no**"
