"""Model card: the README.md of a model folder, written from what the run knows.

It follows the layout of Hugging Face's model cards: a YAML head, then the sections a user of the
model looks for first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from thresher.audit import Summary

__all__ = ["Excluded", "model_card"]

CLASSES_SHOWN = 100


@dataclass(frozen=True)
class Excluded:
    """Rows of the training data that the model did not learn from.

    Args:
        held_out: Labelled rows kept aside to see what is only memorised.
        unlabelled: Rows without a label.
        unreadable: Rows that could not be read.
    """

    held_out: int
    unlabelled: int
    unreadable: int


def model_card(
    *,
    kind: Literal["features", "images"],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    excluded: Excluded,
    results: Mapping[str, Any],
    audit: Summary | None,
) -> str:
    """Write a card in Markdown.

    Args:
        kind: Of the inputs.
        settings: The table [fit] of run.toml.
        facts: The table [run]: version, fingerprint, number of rows, classes.
        excluded: Rows not learned from.
        results: The summary of the run: accuracies, where there are any.
        audit: What the audit found; None when there was none.
    """
    parts = [
        _head(kind),
        _training(settings, facts, excluded),
        _labels(audit),
        _results(results),
        _use(),
    ]
    return "\n".join(part for part in parts if part)


def _head(kind: Literal["features", "images"]) -> str:
    task = {"images": "image-classification", "features": "tabular-classification"}[kind]
    return f"""---
library_name: thresher
pipeline_tag: {task}
tags: [label-noise]
---

# A classifier trained on labels that may be wrong

Made by `thresher fit`, which watches every sample while the network trains and decides from it
which labels to believe. The labels of the training data were not corrected.
"""


def _training(settings: Mapping[str, Any], facts: Mapping[str, Any], excluded: Excluded) -> str:
    rows = [
        ("thresher", facts["thresher"]),
        ("method", settings["method"]),
        ("network", settings["model"]),
        ("epochs, batch size", f"{settings['epochs']}, {settings['batch_size']}"),
        (
            "peak learning rate, weight decay",
            f"{settings['learning_rate']:g}, {settings['weight_decay']:g}",
        ),
        ("seed", settings["seed"]),
        ("rows read", f"{facts['n']:,}"),
        ("rows learned from", f"{facts['n'] - excluded.held_out - excluded.unlabelled:,}"),
        ("held out", f"{excluded.held_out:,}"),
        ("without a label", f"{excluded.unlabelled:,}"),
        ("unreadable, left out", f"{excluded.unreadable:,}"),
        ("fingerprint of the data", f"`{facts['fingerprint']}`"),
    ]
    return "## Training\n\n" + _table(("", ""), rows)


def _labels(audit: Summary | None) -> str:
    if audit is None:
        return ""
    if audit.knows_nothing:
        return "## Labels\n\nNo label got a verdict: the run has too few epochs.\n"
    rate = audit.noise_rate
    text = (
        "## Labels\n\n"
        f"About {100 * rate.estimate:.1f} % of the labels are wrong (between {100 * rate.low:.1f} "
        f"and {100 * rate.high:.1f} %; an estimate, made without true labels). "
        f"{audit.n_label_issues:,} of {audit.labelled:,} are suspect.\n\n"
    )
    rows = [
        (_cell(each.name), f"{each.n:,}", f"{each.flagged:,}", f"{100 * each.noise:.1f} %")
        for each in audit.per_class[:CLASSES_SHOWN]
    ]
    more = len(audit.per_class) - len(rows)
    return (
        text
        + _table(("class", "rows", "suspect", "estimated wrong"), rows)
        + (f"\nand {more:,} more classes.\n" if more else "")
    )


def _results(results: Mapping[str, Any]) -> str:
    lines = []
    if "test_accuracy" in results:
        lines.append(f"Accuracy on the test data: {100 * results['test_accuracy']:.1f} %.")
    if "validation_accuracy" in results:
        lines.append(
            f"Agrees with {100 * results['validation_accuracy']:.1f} % of the given labels of "
            f"{results['validation_rows']:,} held-out rows; those that are wrong count against it."
        )
    return "## Results\n\n" + "\n".join(lines) + "\n" if lines else ""


def _use() -> str:
    return """## Use

`thresher predict THIS_FOLDER new-data`, or in Python `thresher.predict(folder, new_data).labels`.
`preprocess.json` says how inputs are made, `config.json` what the classes are. The folder holds no
code; a network or encoder named "package.module:factory" is imported from this machine.

## Limits

A mistake that follows a rule the network can learn, such as every sample of a kind labelled
wrongly, cannot be seen from the data, and the model repeats it.
"""


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    """Write a class name so that it stays one cell, and text."""
    line = " ".join(text.split())
    for mark in "\\|`*_[]<>":
        line = line.replace(mark, "\\" + mark)
    return line
