"""`thresher audit`: the suspects of a run, and the gate for continuous integration."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris

from thresher.audit import from_embeddings, from_probabilities, judge_again, record_of_run
from thresher.audit.features import FeatureIssues
from thresher.audit.table import METADATA_KEY, build_table, read_table, table_facts, write_table
from thresher.audit.verdicts import judge
from thresher.cli.audit import exceeds
from thresher.errors import ParameterError
from thresher.run_folder import RunFolder

SUSPECT = [
    "rank",
    "sample_id",
    "given_label",
    "suggested_label",
    "label_score",
    "p_given",
    "p_suggested",
    "reason",
]


@pytest.fixture
def table(iris_run):
    return pq.read_table(iris_run / "audit.parquet").to_pandas().sort_values("rank")


@pytest.fixture
def issues(table):
    """The suspects, worst first; some, but not all."""
    found = table[table["is_label_issue"]]
    assert 5 < len(found) < 60
    return found


def test_suspects_are_listed_worst_first(call, iris_run, issues):
    """A head line with the counts, then the ids of the file in the order of their ranks."""
    done = call("audit", iris_run, "--top", 1000)
    assert done.code == 0
    head, titles, *lines = done.out.splitlines()
    assert head.startswith(f"{len(issues)} of 150 labels are suspect; estimated noise rate ")
    assert ["rank", "sample", "given", "suggested", "score"] == titles.split()[:5]
    assert issues["sample_id"].to_list() == [each.split()[1] for each in lines]
    assert issues["given_label"].to_list() == [each.split()[2] for each in lines]
    assert issues["suggested_label"].to_list() == [each.split()[3] for each in lines]


@pytest.mark.parametrize("top", [0, 1, 3])
def test_top_limits_the_list_and_not_the_count(top, call, iris_run, issues):
    """The head line is the same."""
    head, *rest = call("audit", iris_run, "--top", top).out.splitlines()
    assert head.startswith(f"{len(issues)} of 150")
    assert (top + 1 if top else 0) == len(rest)


def test_json_is_one_object_with_names_and_facts(call, iris_run, issues):
    """Suspects have the columns that people see."""
    done = call("audit", iris_run, "--top", 4, "--json")
    found = json.loads(done.out)
    assert [
        "schema",
        "run",
        "out",
        "n",
        "n_labelled",
        "n_label_issues",
        "n_without_verdict",
        "level",
        "noise_rate",
        "memorised",
        "failed",
        "suspects",
    ] == list(found)
    assert found["schema"] == 1
    assert found["run"] == str(iris_run)
    assert (found["out"], found["level"]) == (None, "balanced")
    assert (found["n"], found["n_labelled"]) == (150, 150)
    assert found["n_label_issues"] == len(issues)
    assert found["failed"] is False
    assert [SUSPECT] * 4 == [list(each) for each in found["suspects"]]
    assert issues["sample_id"].to_list()[:4] == [each["sample_id"] for each in found["suspects"]]


def limits(count):
    """Limits just above and just below a count of 150."""
    share = count / 150
    return [
        (str(count), 0),
        (str(count - 1), 1),
        ("0", 1),
        ("100%", 0),
        ("0%", 1),
        ("1.0", 0),
        (f"{share + 0.001:.4f}", 0),
        (f"{share - 0.001:.4f}", 1),
        (f"{100 * share + 0.1:.2f}%", 0),
        (f"{100 * share - 0.1:.2f}%", 1),
    ]


def test_fail_on_is_a_gate_of_counts_and_shares(call, iris_run, issues):
    """Exit 1 above the limit, 0 at it; the list is printed either way."""
    for limit, code in limits(len(issues)):
        done = call("audit", iris_run, "--top", 2, "--fail-on", limit)
        assert (limit, code) == (limit, done.code)
        assert len(done.out.splitlines()) == 4
        assert bool(code) == (f"more than --fail-on {limit} allows" in done.err)
        found = json.loads(call("audit", iris_run, "--fail-on", limit, "--json").out)
        assert bool(code) == found["failed"]


@pytest.mark.parametrize(
    "limit", ["many", "", "-1", "-1%", "1.5", "nan", "nan%", "1e-2", ".", "%", "1.2.3", "1,5"]
)
def test_a_limit_that_is_neither_count_nor_share_is_refused(limit, call, iris_run):
    """Exit 2, not 1: a slip is no finding."""
    done = call("audit", iris_run, "--fail-on", limit)
    assert done.code == 2
    assert done.out == ""
    assert done.complaint == [
        f'thresher: --fail-on must be a count or a share, got "{limit}".',
        "          Examples: 25, 2%, 0.02.",
    ]


@pytest.mark.parametrize(
    ("issues", "limit", "expected"),
    [(3, "3", False), (4, "3", True), (2, "2%", False), (3, "2%", True), (3, "0.02", True)],
)
def test_a_limit_is_exceeded_by_more_only(issues, limit, expected):
    """Of a hundred labels."""
    assert expected is exceeds(issues, 100, limit)


def test_a_limit_in_words_is_a_wrong_parameter():
    """For whoever calls the function."""
    with pytest.raises(ParameterError, match="count or a share"):
        exceeds(1, 10, "few")


def test_shares_are_of_the_labelled_rows(call, iris_run, tmp_path):
    """Rows without a label are no labels that could be right."""
    shutil.copytree(iris_run, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/audit.parquet")
    given = table["given_label"].to_pylist()
    suspect = table["is_label_issue"].to_pylist()
    kept = [name if issue else None for name, issue in zip(given, suspect, strict=True)]
    pq.write_table(table.set_column(2, "given_label", [kept]), tmp_path / "run/audit.parquet")
    assert call("audit", "run", "--fail-on", "99%").code == 1
    assert call("audit", "run", "--fail-on", "100%").code == 0


def test_a_run_without_any_verdict_passes_no_gate(call, tmp_path):
    """After two epochs nothing is known of a label: that is no rate of 0, wherever it is told."""
    iris = load_iris(as_frame=True)
    iris.data.assign(label=iris.target_names[iris.target]).to_csv(tmp_path / "iris.csv")
    done = call("fit", "iris.csv", "--epochs", 2, "--out", "run", "--json")
    summary = json.loads(done.out)
    assert (summary["n_without_verdict"], summary["noise_rate_estimate"]) == (150, None)
    assert call("audit", "run").out == (
        "None of 150 labels got a verdict: train for at least 3 epochs.\n"
    )
    assert json.loads(call("audit", "run", "--json").out)["n_without_verdict"] == 150
    gate = call("audit", "run", "--fail-on", "2%")
    assert gate.code == 2
    assert gate.complaint[0] == (
        "thresher: None of the 150 labels got a verdict, so that --fail-on 2% has nothing to go by."
    )
    assert "No label got a verdict." in (tmp_path / "run/report.html").read_text()
    assert "No label got a verdict" in (tmp_path / "run/model/README.md").read_text()


def test_a_table_of_an_earlier_release_is_listed(call, iris_run, tmp_path):
    """It holds no summary, and does not say how many labels got no verdict."""
    shutil.copytree(iris_run, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/audit.parquet")
    facts = {name: value for name, value in table_facts(table).items() if name != "summary"}
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(facts).encode()})
    pq.write_table(table, tmp_path / "run/audit.parquet")
    assert call("audit", "run").out == call("audit", iris_run).out


@pytest.mark.parametrize("content", [b"", b"PAR1", b"rubbish" * 100])
def test_a_damaged_audit_is_refused(content, call, iris_run, tmp_path):
    """Exit 2, not 1: it says nothing of the labels."""
    shutil.copytree(iris_run, tmp_path / "run")
    (tmp_path / "run/audit.parquet").write_bytes(content)
    done = call("audit", "run")
    assert done.code == 2
    assert len(done.complaint) == 2
    assert "audit.parquet cannot be read" in done.complaint[0]


def test_an_audit_of_another_program_is_refused(call, iris_run, tmp_path):
    """A Parquet file without our facts."""
    shutil.copytree(iris_run, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/audit.parquet")
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "run/audit.parquet")
    done = call("audit", "run")
    assert done.code == 2
    assert "is not an audit table" in done.complaint[0]


def test_an_unfinished_run_has_no_audit_yet(call, iris_run, tmp_path):
    """The command that finishes it is named."""
    shutil.copytree(iris_run, tmp_path / "run")
    (tmp_path / "run/state").mkdir()
    done = call("audit", "run")
    assert done.code == 2
    assert done.complaint == [
        "thresher: The run in run is not finished.",
        "          Finish it: thresher fit --resume run",
    ]


def test_a_run_with_nothing_to_suspect_says_so(call, iris_run, tmp_path):
    """No empty table."""
    shutil.copytree(iris_run, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/audit.parquet")
    calm = table.set_column(6, "is_label_issue", [[False] * 150])
    facts = json.loads(table.schema.metadata[b"thresher"]) | {"n_label_issues": 0}
    calm = calm.replace_schema_metadata({b"thresher": json.dumps(facts).encode()})
    pq.write_table(calm, tmp_path / "run/audit.parquet")
    done = call("audit", "run", "--fail-on", 0)
    assert done.code == 0
    assert done.out.startswith("0 of 150 labels are suspect")
    assert len(done.out.splitlines()) == 1


def test_long_names_are_not_cut_in_a_pipe(call, iris_run, tmp_path):
    """What is printed can be searched for."""
    shutil.copytree(iris_run, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/audit.parquet")
    names = [f"a/very/long/path/to/some/scan/{'deep/' * 20}{row}.png" for row in range(150)]
    pq.write_table(table.set_column(0, "sample_id", [names]), tmp_path / "run/audit.parquet")
    done = call("audit", "run", "--top", 3)
    listed = [each.split()[1] for each in done.out.splitlines()[2:]]
    assert len(listed) == 3
    assert set(listed) <= set(names)


# ---------------------------------------------------------------------- judged again
def test_a_level_judges_the_run_again_and_leaves_it_as_it_is(call, iris_run, tmp_path):
    """The whole table goes elsewhere."""
    before = {each: each.read_bytes() for each in iris_run.rglob("*") if each.is_file()}
    done = call("audit", iris_run, "--level", "high_recall", "--out", "all.parquet", "--json")
    found = json.loads(done.out)
    assert (found["level"], found["out"]) == ("high_recall", "all.parquet")
    written = read_table(tmp_path / "all.parquet")
    assert written.equals(judge_again(RunFolder(iris_run), "high_recall"))
    assert found["n_label_issues"] == written["is_label_issue"].to_numpy().sum()
    assert (
        found["n_label_issues"]
        >= json.loads(call("audit", iris_run, "--json").out)["n_label_issues"]
    )
    assert before == {each: each.read_bytes() for each in iris_run.rglob("*") if each.is_file()}


def test_out_alone_copies_the_table_of_the_run(call, iris_run, tmp_path):
    """As it stands."""
    done = call("audit", iris_run, "--out", "copy.parquet")
    assert done.err == "150 rows in copy.parquet\n"
    assert read_table(tmp_path / "copy.parquet").equals(read_table(iris_run / "audit.parquet"))


@pytest.mark.parametrize("place", ["run/audit.parquet", "run/other.parquet", "link/a.parquet"])
def test_out_never_leads_into_a_run(place, call, iris_run, tmp_path):
    """Its own table least of all; nor by another name of the folder."""
    shutil.copytree(iris_run, tmp_path / "run")
    (tmp_path / "link").symlink_to("run")
    before = (tmp_path / "run/audit.parquet").read_bytes()
    done = call("audit", "run", "--level", "high_recall", "--out", place)
    assert done.code == 2
    assert "lies in a run" in done.complaint[0]
    assert before == (tmp_path / "run/audit.parquet").read_bytes()
    assert not (tmp_path / "run/other.parquet").exists()


def test_an_ensemble_needs_features_of_the_run(call, iris_run):
    """Said with the run's name."""
    done = call("audit", iris_run, "--score", "ensemble")
    assert done.code == 2
    assert "keeps no features" in done.complaint[0]


def test_a_suspect_without_a_suggestion_is_listed(call, iris_run, tmp_path):
    """An outlier has none."""
    shutil.copytree(iris_run, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    record, own = record_of_run(folder), read_table(folder.audit)
    everything = FeatureIssues(np.zeros(150, np.float32), np.ones(150, bool), None)
    table = build_table(record, judge(record, issues=everything), sample_ids=own["sample_id"])
    write_table(table, folder.audit)
    done = call("audit", "run", "--top", 2)
    assert done.code == 0
    assert [["–", "outlier"]] * 2 == [
        [each.split()[3], each.split()[-1]] for each in done.out.splitlines()[2:]
    ]


# ---------------------------------------------------------------------- made elsewhere
@pytest.fixture
def files(tmp_path):
    """Probabilities, embeddings and labels, of which a fifth is wrong."""
    random = np.random.default_rng(0)
    true = random.integers(0, 3, 400)
    labels = np.where(random.random(400) < 0.2, (true + 1) % 3, true)
    embeddings = (4 * np.eye(3)[true] + random.normal(size=(400, 3))).astype(np.float32)
    p = np.exp(embeddings - embeddings.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    np.save(tmp_path / "P.npy", p)
    np.save(tmp_path / "E.npy", embeddings)
    np.save(tmp_path / "L.npy", labels)
    names = np.array(["ant", "bee", "cat"])[labels]
    rows = "".join(f"{row},{name}\n" for row, name in enumerate(names))
    (tmp_path / "L.csv").write_text("id,species\n" + rows)
    return p, embeddings, labels, names


def test_probabilities_are_audited_without_a_run(call, files, tmp_path):
    """List, table and JSON; the table is that of the function."""
    p, _, labels, _ = files
    done = call(
        *("audit", "--probabilities", "P.npy", "--labels", "L.npy", "--out", "a.parquet"),
        *("--top", 3),
    )
    assert done.code == 0
    expected = from_probabilities(p, labels)
    assert read_table(tmp_path / "a.parquet").equals(expected.table)
    head, _, *suspects = done.out.splitlines()
    assert head.startswith(f"{expected.summary.n_label_issues} of 400 labels are suspect;")
    worst = np.argsort(expected.verdicts.rank)[:3]
    assert [str(row) for row in worst] == [each.split()[1] for each in suspects]
    found = json.loads(call("audit", "--probabilities", "P.npy", "--labels", "L.npy", "--json").out)
    assert (found["run"], found["n"]) == (None, 400)


def test_labels_come_from_a_column_and_classes_from_a_list(call, files, tmp_path):
    """Names in the order of the columns."""
    p, _, _, names = files
    options = ("--probabilities", "P.npy", "--out", "a.parquet", "--level", "high_recall")
    assert call("audit", *options, "--labels", "L.csv:species").code == 0
    by_name = read_table(tmp_path / "a.parquet")
    assert by_name.equals(from_probabilities(p, names, level="high_recall").table)
    assert call("audit", *options, "--labels", "L.npy", "--classes", "ant,bee,cat").code == 0
    assert by_name.equals(read_table(tmp_path / "a.parquet"))


def test_embeddings_are_audited_alone_or_beside_probabilities(call, files, tmp_path):
    """Their neighbours vote, or say only what stands apart."""
    p, embeddings, labels, _ = files
    options = ("--embeddings", "E.npy", "--labels", "L.npy", "--out", "a.parquet")
    assert call("audit", *options).code == 0
    assert read_table(tmp_path / "a.parquet").equals(from_embeddings(embeddings, labels).table)
    assert call("audit", *options, "--probabilities", "P.npy", "--score", "ensemble").code == 0
    expected = from_probabilities(p, labels, features=embeddings, score="ensemble")
    assert read_table(tmp_path / "a.parquet").equals(expected.table)


def test_the_gate_works_without_a_run(call, files):
    """Exit 1 above the limit."""
    options = ("audit", "--probabilities", "P.npy", "--labels", "L.npy", "--fail-on")
    assert call(*options, "5%").code == 1
    assert call(*options, "50%").code == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.disk_usage(".").free < 8e9, reason="needs 4 GB on the disk")
def test_a_matrix_of_four_gigabytes_is_audited_in_one(tmp_path):
    """200,000 rows of 5,000 classes; what the process held at most, above its imports."""
    rows, classes = 200_000, 5_000
    random = np.random.default_rng(0)
    true = random.integers(0, classes, rows)
    other = (true + random.integers(1, classes, rows)) % classes
    stored = np.lib.format.open_memmap(
        tmp_path / "P.npy", mode="w+", dtype=np.float32, shape=(rows, classes)
    )
    for start in range(0, rows, 5000):  # the rest stays zero
        here = np.arange(start, start + 5000)
        sure = random.uniform(0.5, 1, 5000)
        stored[here, true[here]], stored[here, other[here]] = sure, 1 - sure
    del stored
    wrong = random.random(rows) < 0.1
    np.save(tmp_path / "L.npy", np.where(wrong, other, true))
    code = (
        "import sys, pyarrow.parquet, thresher.audit.table\n"
        "from thresher.cli.app import app\n"
        "from thresher.memory import peak_mib\n"
        "before = peak_mib()\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(peak_mib() - before)"
    )
    arguments = ("--probabilities", "P.npy", "--labels", "L.npy", "--json")
    try:
        printed = audit_in_a_process(code, arguments, tmp_path)
    finally:
        (tmp_path / "P.npy").unlink()  # folders of the last runs are kept
    found, held = printed.splitlines()
    assert 0.8 * wrong.sum() < json.loads(found)["n_label_issues"] <= wrong.sum()
    assert float(held) < 1024


def audit_in_a_process(code, arguments, folder):
    """What a program of its own prints that calls `thresher audit`; on one thread."""
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.stdout


def test_nothing_imports_torch(files, tmp_path):
    """In a process of its own; probabilities, embeddings, and --help without pyarrow either."""
    code = (
        "import sys; from thresher.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    for arguments, loaded in (
        (("--probabilities", "P.npy", "--labels", "L.npy", "--level", "high_recall"), ["pyarrow"]),
        (("--probabilities", "P.npy", "--labels", "L.csv:species"), ["pyarrow"]),
        (("--embeddings", "E.npy", "--labels", "L.npy"), ["pyarrow"]),
        (("--help",), []),
    ):
        printed = audit_in_a_process(code, arguments, tmp_path)
        assert str(loaded) == printed.splitlines()[-1], arguments


@pytest.mark.parametrize(
    ("arguments", "cause", "fix"),
    [
        ([], "nothing to audit", "--probabilities P.npy"),
        (["run", "--labels", "L.npy"], "but --labels was passed", "Leave out the run"),
        (["run", "--probabilities", "P.npy"], "but --probabilities was passed", "Leave out"),
        (["run", "--classes", "a,b"], "but --classes was passed", "Leave out"),
        (["--labels", "L.npy"], "--labels was passed without predictions", "--embeddings E.npy"),
        (["--probabilities", "P.npy"], "without the given labels", "--labels L.npy"),
        (["--embeddings", "E.npy"], "without the given labels", "--labels L.npy"),
        (["run", "--level", "high"], '--level "high" is unknown', 'Did you mean "high_'),
        (["run", "--score", "rank"], '--score "rank" is unknown', "ensemble"),
        (["run", "--out", "a.csv"], "--out must end in .parquet", "audit.parquet"),
        (["--probabilities", "none.npy", "--labels", "L.npy"], "does not exist", "Check the path"),
        (["--probabilities", "P.npy", "--labels", "L.csv"], "has 2 columns", "L.csv:COLUMN"),
        (["--probabilities", "L.npy", "--labels", "L.npy"], "must be (N, k) floats", "column"),
        (["--probabilities", "E.npy", "--labels", "L.npy"], "no probability", "softmax"),
        (
            ["--probabilities", "P.npy", "--labels", "L.npy", "--score", "ensemble"],
            "--score ensemble needs embeddings",
            "--embeddings E.npy",
        ),
    ],
)
def test_combinations_that_make_no_sense_are_refused(arguments, cause, fix, call, files, tmp_path):
    """Exit 2, a line of cause, a line of fix, and no file."""
    done = call("audit", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert len(done.complaint) == 2
    assert cause in done.complaint[0]
    assert fix in done.complaint[1]
    assert not list(tmp_path.glob("*.parquet"))
