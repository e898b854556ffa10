"""`thresher audit`: the suspects of a run, and the gate for continuous integration."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from thresher.cli.audit import exceeds
from thresher.errors import ParameterError

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
        "n",
        "n_labelled",
        "n_label_issues",
        "noise_rate",
        "memorised",
        "failed",
        "suspects",
    ] == list(found)
    assert found["schema"] == 1
    assert found["run"] == str(iris_run)
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
