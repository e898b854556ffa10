"""Finishing: what a training came to, written into its run folder.

metrics, rows passed over → write_audit → model and its card → summary.json → complete
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from thresher.audit import Summary
from thresher.audit.confusions import write_transition
from thresher.audit.table import write_table
from thresher.auditing import write_audit
from thresher.job import Job
from thresher.memory import peak_mib
from thresher.model_card import Excluded, model_card
from thresher.run_folder import RunFolder
from thresher.trained_model import TrainedModel
from thresher.training.tracking import Tracking

__all__ = ["FitResult", "facts_of_training", "finish"]

SCHEMA = 1  # of summary.json
COMPARED = ("n", "n_label_issues", "noise_rate_estimate", "test_accuracy", "validation_accuracy")


@dataclass(frozen=True)
class FitResult:
    """A finished run.

    Attributes:
        run: Its folder.
        summary: The object that `thresher fit --json` prints.
        model: The trained classifier.
    """

    run: RunFolder
    summary: dict[str, Any]
    model: TrainedModel


def finish(
    job: Job, folder: RunFolder, started: float, epochs: list[dict[str, Any]], tracking: Tracking
) -> FitResult:
    """Write what the training came to, and the audit."""
    folder.write_metrics(epochs)
    if len(job.samples.skipped):
        write_table(job.samples.skipped, folder.skipped)
    if job.samples.conflicts is not None and len(job.samples.conflicts):
        write_table(job.samples.conflicts, folder.conflicts)
    transition = job.known_transition()
    if transition is not None:
        write_transition(folder.transition, transition, job.samples.classes)
    summary = facts_of_training(job, folder)
    if job.applied is not None:
        summary["decisions"] = facts_of_decisions(job)
    found, groups = write_audit(job, folder, epochs, transition) if job.audit else (None, None)
    if groups is not None:
        summary["groups"] = groups
    if found is not None:
        rate = None if found.knows_nothing else found.noise_rate.estimate
        summary["noise_rate_estimate"] = rate
        summary["n_label_issues"] = found.n_label_issues
        summary["n_without_verdict"] = found.n_without_verdict
    if job.tested is not None:
        summary["test_accuracy"] = epochs[-1]["test_accuracy"]
    summary |= held_out_accuracy(job)
    job.model.save(folder.model, card_of_model(job, folder, summary, found))
    summary["seconds"] = round(time.perf_counter() - started, 3)
    summary["peak_mib"] = peak_mib()
    tracking.log(summary, step=len(epochs))
    tracking.finish()
    folder.write_summary(summary)
    folder.finish()
    return FitResult(folder, summary, job.model)


def facts_of_training(job: Job, folder: RunFolder) -> dict[str, Any]:
    """What a training comes to before it is audited."""
    return {
        "schema": SCHEMA,
        "run": str(folder.path),
        "n": len(job.samples),
        "classes": list(job.samples.classes),
        "method": job.settings.method,
        "sampler": job.settings.sampler,
        "epochs": job.settings.epochs,
    }


def facts_of_decisions(job: Job) -> dict[str, Any]:
    """What people decided, and the figures of the run that they looked at."""
    assert job.applied is not None
    assert job.settings.decisions is not None
    before = RunFolder.open(job.settings.decisions).read_summary()
    return {
        **job.applied.to_json(),
        "round": before.get("decisions", {}).get("round", 0) + 1,
        "before": {name: before[name] for name in COMPARED if name in before},
    }


def held_out_accuracy(job: Job) -> dict[str, Any]:
    """Accuracy on the held-out rows, whose labels are as given: that of the finished model.

    Of rows that were trained in the end, that of what was predicted of them until then.
    """
    history = job.training.criterion.history
    held_out = ~history["eligible"].cpu().numpy()
    if held_out.any():
        found = job.model.accuracy(job.samples.take(held_out), job.training.device)
        return {"validation_accuracy": found, "validation_rows": int(held_out.sum())}
    state = history.state_dict()
    if "held_out_rows" not in state:
        return {}
    right = state["held_out_average"].argmax(1) == history["given"][state["held_out_rows"]]
    return {
        "validation_accuracy": float(right.float().mean()),
        "validation_rows": len(right),
        "validation_epoch": int(state["held_out_visits"].max()),
    }


def card_of_model(
    job: Job, folder: RunFolder, results: dict[str, Any], found: Summary | None
) -> str:
    """The card that lies beside the model: what it was trained on, and what came of it."""
    described = job.described(folder)
    eligible = job.training.criterion.history["eligible"]
    return model_card(
        kind=job.samples.kind,
        settings=described["fit"],
        facts=described["run"],
        excluded=Excluded(
            held_out=int((~eligible).sum()),
            unlabelled=int((job.samples.labels < 0).sum()),
            unreadable=len(job.samples.skipped),
        ),
        results=results,
        audit=found,
    )
