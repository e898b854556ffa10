"""The report of a folder: from its files alone, whatever of them is missing."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from thresher.audit import build_table, judge, summarise, write_table
from thresher.audit.confusions import write_transition
from thresher.audit.evidence_file import Evidence, write_evidence
from thresher.audit.report import render_report
from thresher.audit.run_report import report_of_run
from thresher.audit.table import METADATA_KEY, table_facts
from thresher.decisions import Decided, DecisionLog
from thresher.errors import ParameterError, RunError
from thresher.run_folder import RunFolder

METRICS = [{"epoch": 1, "loss": 2.0, "test_accuracy": 0.5}, {"epoch": 2, "loss": 1.0}]
SETTINGS = {"method": "auto", "epochs": 2, "noise_rate": "auto"}
METHOD = {"name": "auto", "summary": "Trains.", "source": "Us, 2026"}


@pytest.fixture
def found(simulate):
    """Summary and table of a simulated run."""
    record, _ = simulate()
    verdicts = judge(record)
    table = build_table(record, verdicts, sample_ids=[f"s{row}" for row in range(1500)])
    return summarise(record, verdicts), table


@pytest.fixture
def folder(found, tmp_path):
    """A run folder with the files that every audited run has."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_settings({"fit": SETTINGS, "run": {}})
    run.write_metrics(METRICS)
    write_table(found[1], run.audit)
    return run


def worst(table, number):
    """Identifiers of the most suspect rows."""
    return (
        table.sort_by("rank")
        .filter(table.sort_by("rank")["rank"].is_valid())["sample_id"][:number]
        .to_pylist()
    )


def test_it_is_the_report_of_the_training(folder, found):
    """To the byte: the files hold all that it was made of."""
    summary, table = found
    made = report_of_run(folder, method=METHOD)
    page = render_report(
        summary=summary,
        table=table,
        metrics=[{"schema": 1, **each} for each in METRICS],
        settings=SETTINGS,
        method=METHOD,
    )
    assert page == made.page
    assert summary == made.summary
    assert 0 < made.suggestion_precision <= 1
    assert made.review.decided == 0


def test_decisions_since_are_in_it(folder, found):
    """Those that stand."""
    names = worst(found[1], 3)
    with DecisionLog(folder.decisions) as log:
        log.append([Decided(name, "keep", "class 0") for name in names[:2]])
        log.append([Decided(names[2], "exclude", None)])
        log.undo()
    made = report_of_run(folder)
    assert (2, 0) == (made.review.kept, made.review.excluded)
    assert made.page.count("decided: given label kept") == 2
    assert "decided: excluded" not in made.page


def test_evidence_of_the_folder_is_shown(folder, found):
    """Of the samples shown; the data themselves are not needed."""
    (name,) = worst(found[1], 1)
    history = np.array([0.5, 0.1], dtype=np.float32)
    write_evidence(folder.evidence, [(name, Evidence(cells={"x": "1.25"}, history=history))])
    page = report_of_run(folder, top=1).page
    assert "<dd>1.25</dd>" in page
    assert "10 % in the last" in page


def test_how_labels_are_confused_is_shown(folder, found):
    """As the method knew it at the end of the training."""
    classes = found[0].classes
    matrix = 0.8 * np.eye(5) + 0.2 * np.roll(np.eye(5), 1, axis=1)
    assert "How labels come about" not in report_of_run(folder).page
    write_transition(folder.transition, matrix, classes)
    page = report_of_run(folder, method=METHOD).page
    assert "As auto has it at the end of the training" in page
    assert page.count('<td class="strong" style="--shade:1.00">20</td>') == 5


def test_nothing_is_written(folder):
    """Reading a log that is not there makes none."""
    before = sorted(folder.path.iterdir())
    report_of_run(folder)
    assert before == sorted(folder.path.iterdir())


def test_without_metrics_the_curves_are_missing(folder):
    """And nothing else."""
    folder.metrics.unlink()
    assert "How the training went" not in report_of_run(folder).page


def test_damaged_files_are_errors_of_ours(folder):
    """Each named."""
    folder.metrics.write_text('{"epoch": 1')
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read"):
        report_of_run(folder)
    folder.audit.write_bytes(folder.audit.read_bytes()[:500])
    with pytest.raises(RunError, match=r"audit\.parquet cannot be read"):
        report_of_run(folder)
    folder.audit.unlink()
    with pytest.raises(RunError, match=r"holds no audit\.parquet"):
        report_of_run(folder)


def test_a_table_without_a_summary_is_refused(folder, found):
    """It cannot be made up."""
    facts = table_facts(found[1])
    del facts["summary"]
    bare = found[1].replace_schema_metadata({METADATA_KEY: json.dumps(facts)})
    pq.write_table(bare, folder.audit)
    with pytest.raises(RunError, match="holds no summary"):
        report_of_run(folder)


@pytest.mark.parametrize("top", [-1, 0, 301])
def test_the_number_of_suspects_is_bounded(folder, top):
    """As in any report."""
    with pytest.raises(ParameterError, match="top must be in"):
        report_of_run(folder, top=top)


def test_a_summary_goes_through_the_table_unharmed(simulate):
    """Classes never predicted, rare ones and hostile names included."""
    record, _ = simulate(rows=300, classes=20, sharpness=5.0, unlabelled=10)
    names = tuple(f'"\\{c}\u2028</script>é' for c in range(20))
    record = dataclasses.replace(record, classes=names)
    verdicts = judge(record)
    table = build_table(record, verdicts, sample_ids=np.arange(300))
    stored = table_facts(table)["summary"]
    assert json.loads(json.dumps(summarise(record, verdicts).to_json())) == stored
