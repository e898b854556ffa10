"""What the documents show runs as shown."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import TensorDataset

ROOT = Path(__file__).parent.parent


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
    assert len(blocks) == 6
    assert names["criterion"].epoch == 5
    assert len(names["verdicts"].rank) == 600
    for trainer in ("trainer", "robust"):
        if trainer in names:
            assert names[trainer].attached.criterion.history["visits"].tolist() == [2] * 600


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
