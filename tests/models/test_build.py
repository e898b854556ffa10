"""Building by name: seeded starts, factories of users, and networks that do not fit."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from thresher.errors import ModelError
from thresher.models import (
    Mlp,
    Networks,
    PreActResNet18,
    ResNet18,
    SmallCnn,
    build_model,
    check_model,
    default_model,
)

FACTORIES = """
from torch import nn
import torch

def tiny(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes))

def keywords(**settings):
    return tiny(settings["shape"], settings["classes"])

def only_classes(classes, width=5):
    return nn.Linear(width, classes)

def plain():
    return nn.Linear(5, 3)

def wide():
    return nn.Linear(5, 7)

def demanding(depth):
    return nn.Linear(5, 3)

def failing():
    raise KeyError("no such\\nweights")

def no_module():
    return 3

shared = nn.Linear(5, 3)  # draws numbers on import

def same():
    return shared

class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(shape[0], classes)

    def forward(self, inputs):
        return self.layer(inputs)

number = 3
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.fixture
def broken(factories, tmp_path):
    (tmp_path / "own_broken.py").write_text("def net(:\n")
    return "own_broken"


def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("mlp", (5,), Mlp),
        ("mlp", (1, 8, 8), Mlp),
        ("cnn", (1, 8, 8), SmallCnn),
        ("resnet18", (3, 8, 8), ResNet18),
        ("preact-resnet18", (3, 8, 8), PreActResNet18),
    ],
)
def test_a_name_builds_its_network(name, shape, kind):
    model = build_model(name, shape=shape, classes=4, seed=0)
    assert isinstance(model, kind)
    assert model.training
    assert model(torch.zeros(2, *shape)).shape == (2, 4)


def test_default_models_fit_their_kind():
    assert default_model("features") == "mlp"
    assert default_model("images") == "cnn"


def test_the_start_depends_on_the_seed_alone():
    torch.manual_seed(1)
    first = weights(build_model("mlp", shape=(5,), classes=3, seed=7))
    torch.manual_seed(2)
    again = weights(build_model("mlp", shape=(5,), classes=3, seed=7))
    other = weights(build_model("mlp", shape=(5,), classes=3, seed=8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_stays_where_it_was():
    before = torch.get_rng_state()
    build_model("cnn", shape=(1, 8, 8), classes=3, seed=0, networks=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_of_two_networks_is_the_single_one_and_the_second_differs():
    single = build_model("mlp", shape=(5,), classes=3, seed=0)
    pair = build_model("mlp", shape=(5,), classes=3, seed=0, networks=2)
    assert isinstance(pair, Networks)
    first, second = map(weights, pair.members)
    assert torch.equal(first, weights(single))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("factory", ["tiny", "keywords", "only_classes", "plain", "Net"])
def test_a_factory_gets_what_it_takes(factories, factory):
    model = build_model(f"{factories}:{factory}", shape=(5,), classes=3, seed=0)
    assert model(torch.zeros(4, 5)).shape == (4, 3)


def test_a_factory_is_seeded(factories):
    first, second = (
        build_model(f"{factories}:plain", shape=(5,), classes=3, seed=1) for _ in range(2)
    )
    assert torch.equal(weights(first), weights(second))


def test_the_search_path_is_put_back(factories):
    before = list(sys.path)
    build_model(f"{factories}:plain", shape=(5,), classes=3, seed=0)
    with pytest.raises(ModelError):
        build_model(f"{factories}:failing", shape=(5,), classes=3, seed=0)
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", 'no model "resnet". Did you mean "resnet18"'),
        ("own_network:plain", 'cannot be imported: .* Did you mean "own_networks"'),
        ("own_networks.inner:plain", "cannot be imported"),
        ("own_networks:plan", 'no callable "plan". Did you mean "plain"'),
        ("own_networks:number", 'no callable "number"'),
        ("own_networks:", 'no callable ""'),
        (":plain", "cannot be imported"),
        ("own_networks:demanding", "failed: TypeError: .*'depth'"),
        ("own_networks:failing", r"failed: KeyError: 'no such\\nweights'"),
        ("own_networks:no_module", "made a int, not a torch.nn.Module"),
        ("own_networks:wide", "last layer is 7 wide, the data have 3 classes"),
    ],
)
def test_what_cannot_be_built_is_refused(factories, name, message):
    with pytest.raises(ModelError, match=message) as caught:
        build_model(name, shape=(5,), classes=3, seed=0)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_module_that_is_no_python_is_refused(broken):
    with pytest.raises(ModelError, match=r'"own_broken" .* cannot be imported: SyntaxError'):
        build_model(f"{broken}:net", shape=(5,), classes=3, seed=0)


def test_an_import_leaves_the_global_generator_where_it_was(factories):
    before = torch.get_rng_state()
    build_model(f"{factories}:plain", shape=(5,), classes=3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_networks_from_a_factory_must_be_two(factories):
    with pytest.raises(ModelError, match="share a parameter"):
        build_model(f"{factories}:same", shape=(5,), classes=3, seed=0, networks=2)


@pytest.mark.parametrize("name", ["cnn", "resnet18", "preact-resnet18"])
def test_a_network_for_images_refuses_features(name):
    with pytest.raises(ModelError, match=f'"{name}" needs images, .* Use the model "mlp"'):
        build_model(name, shape=(5,), classes=3, seed=0)


class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs):
        return self.answer(inputs)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda inputs: inputs[:, :2], "last layer is 2 wide, the data have 3 classes"),
        (lambda inputs: inputs[:, 0], r"the shape \(2,\), not \(2, 3\)"),
        (lambda inputs: inputs[:1, :3], r"the shape \(1, 3\), not \(2, 3\)"),
        (lambda inputs: inputs[:, :3] / 0, "NaN or infinity"),
        (lambda inputs: (3, inputs), "a int in which there are no logits"),
        (lambda inputs: (), "a tuple in which there are no logits"),
        (lambda inputs: {"scores": inputs}, "a dict in which there are no logits"),
        (lambda inputs: {"logits": inputs}, "last layer is 5 wide, the data have 3 classes"),
        (lambda inputs: inputs @ torch.zeros(4, 3), r"fails on inputs of shape \(B, 5\)"),
        (lambda inputs: {}["logits"], r"fails on inputs of shape \(B, 5\)"),
    ],
)
def test_an_answer_that_is_no_logits_is_refused(answer, message):
    with pytest.raises(ModelError, match=message):
        check_model(Answering(answer), shape=(5,), classes=3)


@pytest.mark.parametrize(
    "answer",
    [
        lambda logits: (logits, logits),
        lambda logits: [logits],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: SimpleNamespace(logits=logits, hidden_states=None),
        lambda logits: (SimpleNamespace(logits=logits),),
    ],
)
def test_logits_are_found_in_what_a_network_answers_with(answer):
    """A tuple or list, a dictionary, an object, or an object in a tuple."""
    check_model(Answering(lambda inputs: answer(inputs[:, :3])), shape=(5,), classes=3)


def test_each_member_of_a_pair_is_checked():
    pair = Networks([nn.Linear(5, 3), nn.Linear(5, 4)])
    with pytest.raises(ModelError, match="last layer is 4 wide"):
        check_model(pair, shape=(5,), classes=3)


def test_the_check_leaves_no_trace():
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3))
    model[0].eval()  # frozen on purpose
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    check_model(model, shape=(5,), classes=3)
    assert [each.training for each in model] == [False, True, True]
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
