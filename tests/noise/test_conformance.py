"""What every exported method must bear; a new one is tested by being in METHODS."""

import copy

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.models import Networks
from thresher.noise import (
    METHODS,
    MORPH,
    SELFIE,
    Batch,
    Change,
    Drawn,
    Method,
    SelectiveBackprop,
    make_method,
)
from thresher.noise.streams import no_stream
from thresher.noise.weighing import learned_labels
from thresher.training.snapshots import Snapshots

N, D, K, EPOCHS = 60, 5, 3, 8
names = pytest.mark.parametrize("name", sorted(METHODS))


def network(method, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        members = [nn.Linear(D, K) for _ in range(method.networks)]
    return members[0] if method.networks == 1 else Networks(members)


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=generator), torch.randint(K, (N,), generator=generator)


def draw(name):
    """Five foreign rows; their numbers are those of a stream, not of the data."""
    assert name == "auxiliary"
    generator = torch.Generator().manual_seed(7)
    apart = 3 * torch.eye(1, D)  # where the network can be of two minds without harm to the rest
    return Drawn(torch.arange(5) * 1000, apart + torch.randn(5, D, generator=generator) / 4)


def loss_of(criterion, model, index, x, y):
    """As a user's own loop calls it: on outputs, or where these are not enough by step."""
    method = criterion.method
    if method.step is None and not method.streams():
        return criterion(index, model(x), y)
    return criterion.step(model, Batch(index, x, y), draw if method.streams() else no_stream).mean()


def train(method, *, epochs=EPOCHS, batch=16, labels=None, state=None, seed=0):
    """The plain loop of a user; returns weights and criterion after some epochs."""
    x, y = data()
    y = y if labels is None else labels
    criterion = method.start(N, K, epochs=EPOCHS, seed=seed)
    model = network(criterion.method)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    snapshots = Snapshots(model, optimizer, criterion)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        criterion.load_state_dict(state["criterion"])
        snapshots.load_state_dict(state["snapshots"])
    for epoch in range(criterion.epoch, epochs):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(batch):
            optimizer.zero_grad()
            loss = loss_of(criterion, model, index, x[index], y[index])
            assert torch.isfinite(loss)
            loss.backward()
            optimizer.step()
        snapshots.apply(criterion.end_epoch())
    return {
        "model": copy.deepcopy(model.state_dict()),
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "criterion": copy.deepcopy(criterion.state_dict()),
        "snapshots": copy.deepcopy(snapshots.state_dict()),
    }


def assert_equal(first, second):
    for name, values in first["model"].items():
        assert torch.equal(values, second["model"][name]), name
    for name, values in first["criterion"]["history"].items():
        assert torch.equal(values, second["criterion"]["history"][name]), name


@names
def test_it_constructs_with_defaults_and_names_itself(name):
    """Name, needs and a source are what `thresher methods` prints."""
    method = make_method(name)
    assert isinstance(method, Method)
    assert method.name == name
    assert method.source
    assert set(method.needs) <= {"noise_rate", "held_out"}
    assert type(method).__doc__


@names
def test_the_same_seed_gives_the_same_weights_and_history(name):
    """Bit for bit."""
    assert_equal(train(make_method(name)), train(make_method(name)))


@names
def test_a_run_cut_in_two_equals_the_whole(name):
    """state_dict holds all that outlives an epoch."""
    half = train(make_method(name), epochs=EPOCHS // 2)
    assert_equal(train(make_method(name), state=half), train(make_method(name)))


def test_a_loop_resumed_between_saving_and_going_back_still_goes_back():
    """The state of the snapshots is part of what a user's own loop saves."""

    class Rollback(Method):
        name = "rollback"

        def end_epoch(self, measured):
            return {1: Change(save="early"), 5: Change(restore="early")}.get(self.history.epoch)

    half = train(Rollback(), epochs=4)
    assert "early" in half["snapshots"]["kept"]
    assert_equal(train(Rollback(), state=half), train(Rollback()))


@names
def test_it_survives_a_batch_of_one(name):
    """One sample a step, all the way."""
    trained = train(make_method(name), epochs=2, batch=1)
    assert trained["criterion"]["history"]["visits"].tolist() == [2] * N
    assert all(torch.isfinite(values).all() for values in trained["model"].values())


@names
def test_it_survives_labels_of_a_single_class(name):
    """Nothing to tell apart is no reason to fail."""
    trained = train(make_method(name), labels=torch.zeros(N, dtype=torch.int64))
    assert trained["criterion"]["history"]["last_prediction"].tolist() == [0] * N
    assert all(torch.isfinite(values).all() for values in trained["model"].values())


@names
def test_held_out_samples_leave_no_gradient(name):
    """A batch of held-out rows teaches nothing, and is observed."""
    method = make_method(name)
    held_out = torch.zeros(N, dtype=torch.bool)
    held_out[:20] = True
    criterion = method.start(N, K, epochs=4, held_out=held_out)
    model = network(criterion.method)
    x, y = data()
    loss_of(criterion, model, torch.arange(20), x[:20], y[:20]).backward()
    assert all(not parameter.grad.any() for parameter in model.parameters())
    assert criterion.history["visits"][:20].tolist() == [1] * 20


#: Settings that make a method remember what it does not by default.
REMEMBERING = {
    "morph, patient": lambda: MORPH(0.9, misses=3),
    "selfie, soft": lambda: SELFIE(threshold=0.9, soft=True, reuse=True, estimate="anchors"),
    "selective-backprop, recent": lambda: SelectiveBackprop(against="recent", start=0, end=1),
    "selfie, beta": lambda: SELFIE(estimate="beta-window"),
}


def remembered(criterion):
    """All that a criterion holds, by name; tensors as lists of text, in which NaN equals NaN."""
    state = criterion.state_dict()
    held = {**state.pop("history"), **state.pop("method")}
    texts = {
        name: repr(values.tolist()) if isinstance(values, torch.Tensor) else copy.deepcopy(values)
        for name, values in held.items()
    }
    return {**texts, **copy.deepcopy(state)}


@pytest.mark.parametrize("name", [*sorted(METHODS), *REMEMBERING])
def test_evaluation_leaves_no_trace(name):
    """Under no_grad nothing is observed, and nothing that a method remembers moves."""
    method = REMEMBERING[name]() if name in REMEMBERING else make_method(name)
    criterion = method.start(N, K, epochs=EPOCHS)
    model = network(criterion.method)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    snapshots = Snapshots(model, optimizer, criterion)
    x, y = data()
    for _ in range(EPOCHS):
        for index in torch.arange(N).flip(0).split(20):
            before = remembered(criterion)
            with torch.no_grad():
                loss_of(criterion, model, torch.arange(N), x, y)
            assert before == remembered(criterion)
            optimizer.zero_grad()
            loss_of(criterion, model, index, x[index], y[index]).backward()
            optimizer.step()
        snapshots.apply(criterion.end_epoch())
    assert criterion.history["visits"].tolist() == [EPOCHS] * N


@names
def test_a_sample_of_no_class_is_learned_from_with_its_own_label_or_not_at_all(name):
    """Whatever its neighbours get; and no other label is remembered for it."""
    foreign = torch.arange(N) % 3 == 0
    method = make_method(name)
    criterion = method.start(N, K, epochs=EPOCHS, out_of_distribution=foreign)
    model = network(criterion.method)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    snapshots = Snapshots(model, optimizer, criterion)
    x, y = data()
    y = torch.where(torch.arange(N) % 2 == 0, y, 0)
    heard = []
    criterion.listener = lambda step, decision: heard.append(relabelled(step, decision))
    for epoch in range(EPOCHS):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(16):
            optimizer.zero_grad()
            loss_of(criterion, model, index, x[index], y[index]).backward()
            optimizer.step()
        snapshots.apply(criterion.end_epoch())
    assert not foreign[torch.cat(heard)].any()
    if "refurbished" in criterion.history:
        assert (criterion.history["refurbished"][foreign] == -1).all()


def relabelled(step, decision):
    """The samples of a step that are learned from with another label than the given one."""
    counted = step.ones() if decision.weights is None else decision.weights
    counted = counted > 0 if counted.dim() == 1 else (counted > 0).any(0)
    if step.eligible is not None:
        counted = counted & step.eligible
    return step.index[counted & (learned_labels(step, decision) != step.labels)]


@names
def test_starting_twice_gives_two_independent_criteria(name):
    """The method that was started stays unused; there is no global state."""
    method = make_method(name)
    first, second = method.start(N, K, epochs=4), method.start(N, K, epochs=4)
    model = network(first.method)
    x, y = data()
    loss_of(first, model, torch.arange(N), x, y)
    assert int(first.history["visits"].sum()) == N
    assert int(second.history["visits"].sum()) == 0


@names
def test_an_infinite_loss_of_a_dropped_sample_does_not_spoil_the_step(name):
    """Dropping is masking: 0 · inf would be NaN."""
    held_out = torch.zeros(N, dtype=torch.bool)
    held_out[0] = True
    criterion = make_method(name).start(N, K, epochs=4, held_out=held_out)
    shape = (32, K) if criterion.method.networks == 1 else (2, 32, K)
    outputs = torch.zeros(shape)
    outputs[..., 0, 0] = 3e38
    outputs[..., 0, 1] = -3e38
    outputs.requires_grad_()

    class Fixed(nn.Module):
        """Answers the same, whatever its last layer says."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(D, K)

        def forward(self, inputs):
            return outputs[..., : len(inputs), :] + 0 * self.head(inputs)

    inputs, labels = torch.zeros(16, D), torch.ones(16, dtype=torch.int64)
    assert torch.isfinite(loss_of(criterion, Fixed(), torch.arange(16), inputs, labels))


def test_an_unknown_name_offers_the_nearest():
    """A slip of the keyboard costs one reading."""
    with pytest.raises(ParameterError, match='Did you mean "selfie"'):
        make_method("selfy")


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.2])
@pytest.mark.parametrize("name", ["selfie", "co-teaching", "morph", "standard"])
def test_a_noise_rate_out_of_range_is_refused(name, rate):
    """By every method, whether it takes one or not."""
    with pytest.raises(ParameterError, match=r"noise_rate must be in \[0, 1\)"):
        make_method(name, noise_rate=rate)


def test_a_noise_rate_for_a_method_without_one_is_refused():
    """Rather than silently ignored."""
    with pytest.raises(ParameterError, match="takes no noise rate") as refused:
        make_method("gce", noise_rate=0.2)
    takers = [name for name in METHODS if "noise_rate" in make_method(name).needs]
    assert refused.value.fix.endswith(f"choose one that does: {', '.join(takers)}.")


@names
def test_a_method_of_streams_says_what_is_missing_and_what_to_call(name):
    """On the command line, in `fit` and in a loop of one's own; the others draw nothing."""
    criterion = make_method(name).start(N, K, epochs=4)
    model = network(criterion.method)
    x, y = data()
    if not criterion.method.streams():
        criterion.step(model, Batch(torch.arange(N), x, y), no_stream)
        return
    with pytest.raises(ParameterError, match='the data stream "auxiliary"') as refused:
        criterion.step(model, Batch(torch.arange(N), x, y), no_stream)
    assert "--auxiliary FOLDER_OR_FILE" in refused.value.fix
    with pytest.raises(ParameterError, match="cannot start from outputs") as refused:
        criterion(torch.arange(N), model(x), y)
    assert "criterion.step(model, Batch(index, inputs, labels), draw)" in refused.value.fix


def test_a_method_with_passes_of_its_own_says_what_to_call():
    """Outputs alone are not enough for it."""
    criterion = make_method("mixup").start(N, K)
    model = network(criterion.method)
    x, y = data()
    with pytest.raises(ParameterError, match="mixup makes its own forward passes") as refused:
        criterion(torch.arange(N), model(x), y)
    assert "criterion.step(model, Batch(index, inputs, labels), no_stream)" in refused.value.fix
