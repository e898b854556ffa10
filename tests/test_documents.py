"""What the documents show runs as shown."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

from thresher.cli.app import app
from thresher.errors import ParameterError

ROOT = Path(__file__).parent.parent


def calls(name):
    """The calls of the program on a page, as lists of arguments."""
    lines = re.findall(r"^\$ thresher (.*)$", (ROOT / name).read_text(), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def python_blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


@pytest.fixture
def iris_files(tmp_path, monkeypatch):
    """data.csv, test.csv and new.csv in the working directory."""
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    frame = iris.data.assign(species=iris.target_names[iris.target])
    frame = frame.sample(frac=1, random_state=0)
    frame[:100].to_csv(tmp_path / "data.csv", index=False)
    frame[100:].to_csv(tmp_path / "test.csv", index=False)
    frame[100:].drop(columns="species").to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("iris_files")
def test_the_readme_fits_audits_and_predicts():
    """The first Python block, on a data.csv with a column species."""
    names = {}
    exec(python_blocks("README.md")[0], names)
    result = names["result"]
    assert result.run.report.is_file()
    assert len(names["thresher"].predict(result.run.path, "new.csv").labels) == 50


def test_the_readme_loop_trains():
    """The second Python block, in a loop as a user has it."""
    x, y = torch.randn(60, 4), torch.randint(3, (60,))
    data = TensorDataset(x, y)
    model = torch.nn.Linear(4, 3)
    before = model.weight.detach().clone()
    names = {
        "data": data,
        "classes": 3,
        "epochs": 8,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    exec(python_blocks("README.md")[1], names)
    assert not torch.equal(before, model.weight)
    assert names["criterion"].history["visits"].tolist() == [8] * 60


def test_the_readme_clusters():
    """The third Python block finds both moons."""
    names = {}
    exec(python_blocks("README.md")[2], names)
    assert names["model"].n_clusters_ == 2


def test_the_page_on_clusters_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """The positions are made, the program called, the result read; with the output as shown."""
    monkeypatch.chdir(tmp_path)
    made, read, again = python_blocks("docs/how-to/cluster.md")
    names = {}
    exec(made, names)
    page = (ROOT / "docs/how-to/cluster.md").read_text()
    shown = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    for call, output in zip(calls("docs/how-to/cluster.md"), shown, strict=True):
        done = CliRunner().invoke(app, call, catch_exceptions=False)
        assert done.exit_code == 0
        assert output in done.output
    assert (tmp_path / "distances.png").is_file()
    exec(read, names)
    assert len(names["centres"]) == 12
    exec(again, names)
    assert names["model"].n_clusters_ == 12
    assert (
        pd.read_parquet("clusters.parquet")["cluster"].tolist() == names["model"].labels_.tolist()
    )


def test_the_readme_calls_the_commands_on_clusters_rightly(tmp_path, monkeypatch):
    """On positions like those of the page."""
    monkeypatch.chdir(tmp_path)
    exec(python_blocks("docs/how-to/cluster.md")[0], {})
    found = [call for call in calls("README.md") if call[0] in ("k-distance", "dbscan")]
    assert len(found) == 2
    for call in found:
        assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0


def test_the_page_on_open_sets_tells_the_three_apart():
    """Nine of no class, three mislabelled."""
    (block,) = python_blocks("docs/reference/openset.md")
    names = {}
    exec(block, names)
    assert ["out-of-distribution"] * 9 + ["mislabelled"] * 3 == names["named"]


def test_the_counter_example_of_the_page_on_dbscan_holds():
    """Two clusters, not one: the page says so, and so it is."""
    (block,) = python_blocks("docs/concepts/dbscan.md")
    names = {}
    exec(block, names)
    assert names["model"].labels_.max() + 1 == 2


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps its settings in global state, which other tests have set."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.usefixtures("fresh_accelerate")
@pytest.mark.filterwarnings("ignore")  # Lightning gives advice by warnings
def test_the_page_on_own_loops_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Every block of the page, one after the other; of the extras, those that are installed."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    blocks = python_blocks("docs/own-loop.md")
    for block in blocks:
        extras = re.findall(r"^(?:from|import) (transformers|lightning)", block, re.MULTILINE)
        if all(importlib.util.find_spec(each) for each in extras):
            exec(block, names)
    assert len(blocks) == 7
    assert names["criterion"].epoch == 5
    assert len(names["verdicts"].rank) == 600
    for trainer in ("trainer", "robust"):
        if trainer in names:
            assert names[trainer].attached.criterion.history["visits"].tolist() == [2] * 600


@pytest.mark.usefixtures("iris_files")
def test_the_page_on_batches_runs():
    """Its commands, and its loop on three classes."""
    for call in calls("docs/how-to/which-batches.md"):
        asked = [*call, "--epochs", "8", "--out", str(len(call))]
        assert CliRunner().invoke(app, asked, catch_exceptions=False).exit_code == 0
    (block,) = python_blocks("docs/how-to/which-batches.md")
    assert len([line for line in block.splitlines() if line]) <= 15
    model = torch.nn.Linear(4, 3)
    names = {
        "torch": torch,
        "data": TensorDataset(torch.randn(200, 4), torch.randint(3, (200,))),
        "classes": 3,
        "epochs": 8,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    exec(block, names)
    assert names["sampler"].epoch == 7
    assert names["sampler"].report().coverage > 0.3


def test_the_template_method_trains():
    """A newcomer's copy starts from something that works."""
    spec = importlib.util.spec_from_file_location("template", ROOT / "docs/template_method.py")
    assert spec is not None
    assert spec.loader is not None
    template = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(template)
    criterion = template.ConfidenceWeights().start(10, 3)
    outputs = torch.randn(10, 3, requires_grad=True)
    for _ in range(2):
        criterion(torch.arange(10), outputs, torch.zeros(10, dtype=torch.int64)).backward()
        criterion.end_epoch()
    confidence = outputs.detach().softmax(1)[:, 0]
    weights = template.mean_confidence(criterion.history["given_sum"], criterion.history["visits"])
    torch.testing.assert_close(weights, confidence)


@pytest.mark.usefixtures("iris_files")
def test_the_page_on_own_methods_runs(monkeypatch):
    """Its file is short, its commands find it beside them, its targets follow the predictions."""
    source = (ROOT / "docs/own_method.py").read_text()
    assert len(source.splitlines()) < 60
    Path("own_method.py").write_text(source)
    fitted, printed, compared = calls("docs/how-to/own-method.md")
    for call in ([*fitted, "--epochs", "6", "--out", "run"], printed):
        assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    assert compared[:2] == ["bench", "noise"]
    names: dict[str, object] = {"__name__": "own_method"}
    exec(compile(source, "own_method.py", "exec"), names)
    criterion = names["SelfAdaptive"](memory=0.75, warmup=1).start(4, 3, epochs=4)
    outputs = torch.tensor([[0.0, 9.0, 0.0]] * 4, requires_grad=True)
    for _ in range(3):
        criterion(torch.arange(4), outputs, torch.zeros(4, dtype=torch.int64)).backward()
        criterion.end_epoch()
    predicted = outputs.detach().softmax(1)
    given = torch.eye(3)[torch.zeros(4, dtype=torch.int64)]
    expected = given.lerp(predicted, 0.25).lerp(predicted, 0.25)
    torch.testing.assert_close(criterion.history["adapted"], expected)


TESTS = ROOT / "tests"
ASKED_FOR = [
    line for line in (TESTS / "README.md").read_text().splitlines() if re.match(r"\| [AR]\d", line)
]


def functions_of(file):
    """The names of the functions of a file, read without running it."""
    found = ast.parse(file.read_text(encoding="utf-8")).body
    return {each.name for each in found if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("line", ASKED_FOR, ids=lambda line: line.split()[1])
def test_what_is_said_to_hold_a_claim_is_there(line):
    """Every test and every benchmark by its name; each claim has one at least."""
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
    benchmarks = re.findall(r"`python (benchmarks/\w+\.py) ?(\w*)`", line)
    assert tests or benchmarks
    for file, name in tests:
        assert name in functions_of(TESTS / file), f"{file}::{name}"
        assert name.startswith("test_")
    for file, word in benchmarks:
        assert word in (ROOT / file).read_text()
    assert line.count("::") == len(tests)  # no name is written in a way that is not looked for


def test_every_claim_has_a_line_of_its_own():
    """Thirty, numbered."""
    numbers = [line.split()[1] for line in ASKED_FOR]
    assert [f"{part}{number}" for part in "AR" for number in range(1, 16)] == numbers


def test_the_page_on_comparing_calls_the_command_rightly(tmp_path, monkeypatch):
    """Every option is known: what is refused in the end is the number of jobs."""
    monkeypatch.chdir(tmp_path)
    found = calls("docs/how-to/bench.md")
    assert len(found) == 3
    for call in found[:2]:
        with pytest.raises(ParameterError, match="jobs must be at least 1"):
            CliRunner().invoke(app, [*call, "--jobs", "0"], catch_exceptions=False)
