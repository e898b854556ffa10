"""The loop: equal to the shortest plain one, whole or resumed, in one batch or several."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from small_training import D, K, N, assert_equal, data, network, weights
from thresher.errors import ModelError, RecordError
from thresher.keyed_random import keyed_seed
from thresher.models import Networks
from thresher.noise import METHODS, Standard, make_method
from thresher.noise.method import Change, Decision, Method
from thresher.sampling import shuffled_batches
from thresher.training.checkpoint import load_checkpoint, save_checkpoint
from thresher.training.loop import Rows, Settings, Training
from thresher.training.schedule import learning_rate
from thresher.training.snapshots import Snapshots
from thresher.training.stream import Stream


def training(method, settings=None, model=None):
    x, y = data()
    settings = settings or Settings(epochs=4, batch_size=16)
    criterion = method.start(N, K, epochs=settings.epochs, labels=y, seed=settings.seed)
    model = model or network(networks=criterion.method.networks)
    rows = Rows(x, y, torch.arange(N), prepare=lambda batch: batch)
    streams = {name: Stream(x[:30].flip(1), rows.prepare) for name in method.streams()}
    return Training(model, criterion, rows, settings, streams=streams)


@pytest.mark.parametrize("audit", [True, False])
def test_standard_gives_bit_equal_weights_to_the_loop_without_thresher(audit):
    """Uneven last batch, dropout and batch normalisation included; recording changes nothing."""
    x, y = data()
    settings = Settings(epochs=4, batch_size=16)
    model, plain = network(), network()
    criterion = Standard().start(N, K, epochs=4, audit=audit)
    rows = Rows(x, y, torch.arange(N), prepare=lambda batch: batch)
    list(Training(model, criterion, rows, settings).run())

    optimizer = settings.optimizer(plain)
    steps, step = 4 * 7, 0
    plain.train()
    for epoch in range(4):
        batches = shuffled_batches(torch.arange(N), 16, seed=0, epoch=epoch)
        for number, index in enumerate(batches):
            torch.manual_seed(keyed_seed(0, "step", epoch, number))
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, 0.05)
            step += 1
            optimizer.zero_grad()
            F.cross_entropy(plain(x[index]), y[index]).backward()
            optimizer.step()
    assert_equal(weights(plain), weights(model))


def test_the_criterion_in_a_users_own_loop_gives_the_same_bits():
    """Four changed lines, and the loss is the one of cross_entropy."""
    x, y = data()
    first, second = network(), network()
    criterion = Standard().start(N, K)
    for model in (first, second):
        torch.manual_seed(5)
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for index in torch.arange(N).split(30):
            optimizer.zero_grad()
            outputs = model(x[index])
            loss = (
                criterion(index, outputs, y[index])
                if model is first
                else F.cross_entropy(outputs, y[index])
            )
            loss.backward()
            optimizer.step()
    assert_equal(weights(first), weights(second))


def trained_to(trainer, steps):
    """Train until so many steps are taken in all."""
    taken = 7 * trainer.position["epoch"] + trainer.position["batches"]

    def after_step():
        nonlocal taken
        taken += 1
        if taken == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(trainer.run(after_step=after_step))


def in_lists(state):
    """Tensors as lists, which compare as a whole."""
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in state.items()
    }


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_run_resumed_from_a_checkpoint_equals_the_whole(name, tmp_path):
    """Bit for bit: losses, weights, history and the method's numbers; cut twice in one epoch.

    Seven steps are an epoch: it is cut after its first step, in its middle, and at its end.
    """
    settings = Settings(epochs=8, batch_size=16)
    whole = training(make_method(name), settings)
    losses = [epoch.loss for epoch in whole.run()]

    cut = training(make_method(name), settings)
    for steps in (4 * 7 + 1, 4 * 7 + 4, 5 * 7):
        trained_to(cut, steps)
        save_checkpoint(tmp_path / "checkpoint", cut, {"seen": steps})
        counted = cut.criterion.numbers.state_dict()
        networks = whole.criterion.method.networks
        cut = training(make_method(name), settings, network(seed=9, networks=networks))
        assert load_checkpoint(tmp_path / "checkpoint", cut) == {"seen": steps}
        assert counted == cut.criterion.numbers.state_dict()
    assert losses[4:] == [epoch.loss for epoch in cut.run()]

    assert_equal(weights(whole.snapshots.model), weights(cut.snapshots.model))
    first, second = whole.criterion.state_dict(), cut.criterion.state_dict()
    assert in_lists(first["method"]) == in_lists(second["method"])
    assert_equal(first["history"], second["history"])
    kept = {name: value for name, value in vars(whole.criterion.method).items() if plain(value)}
    assert kept == {name: getattr(cut.criterion.method, name) for name in kept}


def plain(value):
    return isinstance(value, int | float | str | tuple)


def test_saving_changes_nothing_that_comes_after(tmp_path):
    """The block of the history that is not full yet stays as it is."""
    quiet = training(Standard())
    watched = training(Standard())
    saved = []

    def save():
        before = len(watched.criterion.history._pending)
        save_checkpoint(tmp_path / "checkpoint", watched, {})
        saved.append(before and before == len(watched.criterion.history._pending))

    assert [each.loss for each in quiet.run()] == [each.loss for each in watched.run(None, save)]
    assert all(saved)
    assert_equal(weights(quiet.snapshots.model), weights(watched.snapshots.model))
    assert_equal(quiet.criterion.state_dict()["history"], watched.criterion.state_dict()["history"])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_which_batches_is_an_object_of_its_own(accumulate, tmp_path):
    """Asked for what is left of an epoch; its own state is saved and loaded first."""

    class Counted:
        """The first rows again and again, and how often they were drawn."""

        def __init__(self):
            self.drawn, self.asked = 0, []

        def epoch(self, number, skip=0):
            self.asked.append((number, skip, self.drawn))
            for _ in range(skip, 7):
                self.drawn += 1
                yield torch.arange(16) + number

        def steps(self, epochs, accumulate=1):
            return epochs * -(-7 // accumulate)

        stride = 1.0

        def weights(self):
            return None

        def state_dict(self):
            return {"drawn": self.drawn}

        def load_state_dict(self, state):
            self.drawn = state["drawn"]

    def trainer():
        x, y = data()
        settings = Settings(epochs=2, batch_size=16, accumulate=accumulate)
        criterion = Standard().start(N, K, epochs=2, labels=y, repeats=True)
        rows = Rows(x, y, torch.arange(N), prepare=lambda batch: batch)
        return Training(network(), criterion, rows, settings, batches=Counted())

    whole, cut, resumed = trainer(), trainer(), trainer()
    assert whole.position["steps"] == 2 * -(-7 // accumulate)
    list(whole.run())
    assert whole.batches.asked == [(0, 0, 0), (1, 0, 7)]
    trained_to(cut, 2)
    save_checkpoint(tmp_path / "checkpoint", cut, {})
    load_checkpoint(tmp_path / "checkpoint", resumed)
    list(resumed.run())
    assert resumed.batches.asked == [(0, 2 * accumulate, 2 * accumulate), (1, 0, 7)]
    assert_equal(weights(whole.snapshots.model), weights(resumed.snapshots.model))


@pytest.mark.parametrize("name", ["standard", "gce", "selfie", "co-teaching"])
def test_a_step_spread_over_batches_equals_the_step_of_one(name):
    """Gradients are sums scaled once, so how a step is cut does not matter (without batch norm)."""
    x, y = data()

    def run(batch, accumulate):
        method = make_method(name)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            members = [nn.Linear(D, K) for _ in range(method.networks)]
        model = members[0] if method.networks == 1 else Networks(members)
        criterion = method.start(N, K, epochs=2, labels=y)
        rows = Rows(x, y, torch.arange(N), prepare=lambda each: each)
        settings = Settings(epochs=2, batch_size=batch, accumulate=accumulate)
        list(Training(model, criterion, rows, settings).run())
        return weights(model)

    whole, parts = run(100, 1), run(25, 4)
    for key, values in whole.items():
        torch.testing.assert_close(values, parts[key], rtol=1e-4, atol=1e-6)


def test_a_window_with_unequal_selection_is_divided_by_what_was_selected():
    """Not by the number of batches: two batches, three and one chosen samples."""

    class Chosen(Method):
        name = "chosen"

        def decide(self, step):
            return Decision((step.index < 4).float())

    x, y = data()
    model = nn.Linear(D, K)
    plain = copy.deepcopy(model)
    criterion = Chosen().start(N, K)
    rows = Rows(x, y, torch.tensor([0, 1, 2, 50, 3, 51, 52, 53]), prepare=lambda each: each)
    trainer = Training(model, criterion, rows, Settings(epochs=1, batch_size=4, accumulate=2))
    trainer._step([torch.tensor([0, 1, 2, 50]), torch.tensor([3, 51, 52, 53])], 0)
    F.cross_entropy(plain(x[:4]), y[:4]).backward()
    torch.testing.assert_close(model.weight.grad, plain.weight.grad)


def test_a_network_with_nothing_to_learn_from_skips_the_step():
    """Its weights stay, momentum and weight decay included; the other network learns."""

    class Half(Method):
        name = "half"
        networks = 2

        def decide(self, step):
            ones = step.ones()
            return Decision(torch.stack([ones, 0 * ones]))

    trainer = training(Half(), Settings(epochs=1, batch_size=50))
    model = trainer.snapshots.model
    before = weights(model)
    trainer._step([torch.arange(50)], 0)
    after = weights(model)
    assert torch.equal(before["members.1.0.weight"], after["members.1.0.weight"])
    assert not torch.equal(before["members.0.0.weight"], after["members.0.0.weight"])


def test_rollback_restores_the_step_bit_for_bit():
    """Save, train on, restore: the next step is the one that followed the save."""

    class Rollback(Method):
        name = "rollback"

        def end_epoch(self, measured):
            return {0: Change(save="early"), 2: Change(restore="early")}.get(self.history.epoch)

    trainer = training(Rollback(), Settings(epochs=4, batch_size=16))
    epochs = trainer.run()
    next(epochs)
    saved = weights(trainer.snapshots.model)
    next(epochs)
    assert not torch.equal(saved["0.weight"], trainer.snapshots.model.state_dict()["0.weight"])
    next(epochs)
    assert_equal(saved, weights(trainer.snapshots.model))
    assert trainer.criterion.epoch == 3


def test_restoring_what_was_never_saved_is_an_error():
    """And names what there is."""
    trainer = training(Standard())
    snapshots = Snapshots(trainer.snapshots.model, trainer.optimizer, trainer.criterion)
    with pytest.raises(RecordError, match='Nothing was saved under "early"'):
        snapshots.apply(Change(restore="early"))


def test_a_module_that_cannot_be_reset_is_named():
    """Parameters without reset_parameters."""

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(K))

        def forward(self, x):
            return x * self.scale

    model = nn.Sequential(nn.Linear(D, K), Scale())
    trainer = training(Standard(), model=model)
    with pytest.raises(ModelError, match='The module "1" \\(Scale\\)'):
        trainer.snapshots.apply(Change(reset=("",)))


def test_freezing_stops_the_learning_of_what_is_named():
    """By module name prefix."""
    trainer = training(Standard(), Settings(epochs=1, batch_size=50))
    before = weights(trainer.snapshots.model)
    trainer.snapshots.apply(Change(freeze=("0",)))
    list(trainer.run())
    after = weights(trainer.snapshots.model)
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_what_was_frozen_learns_again_when_it_is_thawed():
    """And only that: a parameter that its owner keeps from learning stays so."""
    trainer = training(Standard(), Settings(epochs=1, batch_size=50))
    model, snapshots = trainer.snapshots.model, trainer.snapshots
    model.get_parameter("0.bias").requires_grad_(False)
    before = weights(model)
    snapshots.apply(Change(freeze=("0",)))
    snapshots.apply(Change(thaw=("",), freeze=("4.bias",)))
    list(trainer.run())
    after = weights(model)
    assert torch.equal(before["0.bias"], after["0.bias"])
    assert torch.equal(before["4.bias"], after["4.bias"])
    assert not torch.equal(before["0.weight"], after["0.weight"])


def test_what_is_frozen_is_part_of_the_state():
    """A training that goes on elsewhere freezes the same, and thaws what it had frozen itself."""
    trainer, other = (training(Standard(), Settings(epochs=1)) for _ in range(2))
    trainer.snapshots.apply(Change(freeze=("4",)))
    other.snapshots.apply(Change(freeze=("0",)))
    other.snapshots.load_state_dict(trainer.snapshots.state_dict())
    for name, parameter in other.snapshots.model.named_parameters():
        assert parameter.requires_grad == (not name.startswith("4."))
    other.snapshots.apply(Change(thaw=("4",)))
    assert all(each.requires_grad for each in other.snapshots.model.parameters())


def test_names_may_be_found_in_the_network_when_a_change_is_applied():
    """What was found is told; where nothing is, the schedule does not begin anew."""
    trainer = training(Standard(), Settings(epochs=2, batch_size=50))
    trainer.position["step"] = 7
    before = weights(trainer.snapshots.model)
    trainer._apply(Change(reset=lambda model: ()))
    assert trainer.position["step"] == 7
    change = Change(reset=lambda model: ("4",), freeze=lambda model: ("0",))
    assert Change(reset=("4",), freeze=("0",)) == trainer.snapshots.apply(change)
    after = weights(trainer.snapshots.model)
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_a_loss_that_is_no_number_stops_the_run():
    """With the epoch, and the setting to change."""
    x, y = data()
    rows = Rows(x * float("inf"), y, torch.arange(N), prepare=lambda each: each)
    criterion = Standard().start(N, K, labels=y)
    trainer = Training(network(), criterion, rows, Settings(epochs=2))
    with pytest.raises(ModelError, match="The loss became nan in epoch 1"):
        list(trainer.run())


def test_training_leaves_the_global_generator_alone():
    """The user's own random numbers are not disturbed."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(training(Standard(), Settings(epochs=1)).run())
    assert torch.equal(expected, torch.rand(4))


@pytest.mark.parametrize("rows", [1, 5, 16, 17, 33, 100])
def test_every_row_is_drawn_once_and_no_batch_has_one_row(rows):
    """Batch normalisation cannot learn from one."""
    batches = list(shuffled_batches(torch.arange(rows), 16, seed=1, epoch=2))
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))
    assert rows == 1 or min(map(len, batches)) > 1


def test_the_order_belongs_to_seed_and_epoch():
    """Drawn alone or after others."""

    def order(seed, epoch):
        return torch.cat(list(shuffled_batches(torch.arange(50), 8, seed=seed, epoch=epoch)))

    assert torch.equal(order(1, 3), order(1, 3))
    assert not torch.equal(order(1, 3), order(1, 4))
    assert not torch.equal(order(1, 3), order(2, 3))
