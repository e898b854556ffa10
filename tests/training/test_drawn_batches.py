"""A selector draws the batches of the loop: any of them, with any method, whole or resumed."""

import pytest
import torch

from small_training import K, N, assert_equal, data, network, weights
from thresher.errors import ParameterError
from thresher.noise import Standard, make_method
from thresher.noise.method import Batch, Decision, Method, Step
from thresher.noise.weighing import learned_labels
from thresher.sampling import SELECTORS
from thresher.settings import FitSettings
from thresher.training.checkpoint import load_checkpoint, save_checkpoint
from thresher.training.drawn_batches import draw_batches
from thresher.training.loop import Rows, Settings, Training

EPOCHS, BATCH = 6, 16
DRAWN = sorted(set(SELECTORS) - {"static-weights"})
OPTIONS = {
    "recency-bias": [{}, {"replacement": "epoch"}, {"replacement": "iid", "importance_beta": 0.5}],
    "ada-boundary": [{}, {"uniform_mix": 0.1}, {"variant": "uniform"}],
}


def training(name, options=None, method=None, rows=None, seed=0, accumulate=1):
    x, y = data()
    rows = torch.arange(N) if rows is None else rows
    y = torch.full_like(y, -1).index_copy(0, rows, y[rows])
    method = method or Standard()
    criterion = method.start(N, K, epochs=EPOCHS, labels=y, repeats=True)
    batches = draw_batches(name, options or {}, criterion, rows, BATCH, EPOCHS, 0, accumulate)
    model = network(seed, criterion.method.networks)
    settings = Settings(epochs=EPOCHS, batch_size=BATCH, accumulate=accumulate)
    return Training(
        model, criterion, Rows(x, y, rows, lambda each: each), settings, batches=batches
    )


def trained(trainer, steps):
    """Take so many more steps."""
    taken = []

    def after_step():
        taken.append(1)
        if len(taken) == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(trainer.run(after_step=after_step))


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name in DRAWN for options in OPTIONS.get(name, [{}])],
)
def test_a_training_with_a_sampler_goes_on_where_it_was_cut(name, options, tmp_path):
    """Bit for bit; cut twice in one epoch, and after its last step, before it was ended."""
    whole = training(name, options)
    losses = [epoch.loss for epoch in whole.run()]
    cut = training(name, options)
    for further in (1, 1, 5, 3):
        trained(cut, further)
        save_checkpoint(tmp_path / "checkpoint", cut, {})
        ended = cut.position["epoch"]
        cut = training(name, options, seed=9)
        load_checkpoint(tmp_path / "checkpoint", cut)
    assert losses[ended:] == [epoch.loss for epoch in cut.run()]
    assert_equal(weights(whole.snapshots.model), weights(cut.snapshots.model))
    first, second = (each.batches.state_dict() for each in (whole, cut))
    for key, value in first.items():
        same = torch.equal(value, second[key]) if hasattr(value, "shape") else value == second[key]
        assert same, key


def test_a_shuffled_selector_gives_the_weights_of_the_default():
    """So a comparison of samplers compares nothing else."""
    drawn = training("shuffled")
    plain = Training(
        network(), Standard().start(N, K, epochs=EPOCHS, labels=data()[1]), drawn.rows,
        drawn.settings,
    )  # fmt: skip
    for each in (drawn, plain):
        list(each.run())
    assert_equal(weights(plain.snapshots.model), weights(drawn.snapshots.model))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", DRAWN)
def test_the_rate_comes_down_to_nothing_whatever_the_length_of_epochs(name, accumulate):
    """Epochs that visit a part of the rows take as much of the schedule as whole ones."""
    trainer = training(name, accumulate=accumulate)
    rates = [epoch.learning_rate for epoch in trainer.run()]
    assert rates[-1] < (0.1 if accumulate == 1 else 0.35) * max(rates)
    assert trainer.position["step"] == pytest.approx(trainer.position["steps"])


@pytest.mark.parametrize("name", ["ada-boundary", "recency-bias", "info-batch", "online-batch"])
def test_rows_without_a_label_are_never_drawn(name):
    rows = torch.arange(0, N, 3)
    trainer = training(name, rows=rows)
    list(trainer.run())
    visits = trainer.criterion.history["visits"]
    assert (visits[rows] > 0).all()
    assert int(visits.sum()) == int(visits[rows].sum())


@pytest.mark.parametrize(
    "method",
    ["auto", "selfie", "co-teaching", "mixup", "elr", "prestopping", "dividemix", "pes"],
)
def test_methods_and_samplers_go_together(method):
    """Held-out rows are drawn as well: what a method learns from them does not dry up."""
    trainer = training("recency-bias", method=make_method(method))
    assert len(list(trainer.run())) == EPOCHS
    assert (trainer.criterion.history["visits"] > 0).all()
    assert trainer.batches.sampler.report().coverage > 0


def test_what_a_planned_row_weighs_reaches_its_loss_and_not_the_divisor():
    """InfoBatch's mean over a batch is of weighted losses."""
    x, y = data()
    criterion = Standard().start(N, K, labels=y)
    model = network().eval()
    index, factors = torch.arange(8), torch.tensor([2.0, 1, 1, 2, 0.5, 1, 0, 1])
    plain = Batch(index, x[:8], y[:8])
    losses = torch.nn.functional.cross_entropy(model(x[:8]), y[:8], reduction="none")
    parts = criterion.step(model, Batch(index, x[:8], y[:8], factors=factors), None)
    torch.testing.assert_close(parts.sums[0], (factors * losses).sum())
    assert parts.totals.tolist() == [8]
    parts = criterion.step(model, plain, None)
    torch.testing.assert_close(parts.sums[0], losses.sum())


def test_the_sampler_hears_the_labels_that_were_learned():
    """Refurbished ones, and of shares the largest; nothing of an evaluation."""

    class Refurbishing(Method):
        name = "refurbishing"
        shares = False

        def decide(self, step):
            other = (step.labels + 1) % K
            if self.shares:
                return Decision(targets=torch.nn.functional.one_hot(other, K)[None].float())
            return Decision(targets=other)

    x, y = data()
    for shares in (False, True):
        method = Refurbishing()
        method.shares = shares
        criterion, heard = method.start(N, K), []
        criterion.listener = lambda *told, heard=heard: heard.append(told)
        criterion(torch.arange(8), network()(x[:8]), y[:8])
        with torch.no_grad():
            criterion(torch.arange(8), network()(x[:8]), y[:8])
        ((step, decision),) = heard
        assert isinstance(step, Step)
        assert learned_labels(step, decision).tolist() == ((y[:8] + 1) % K).tolist()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sampler": "recency"}, "no sampler"),
        ({"sampler": "static-weights"}, "array of weights"),
        ({"sampler_options": ("pressure=3",)}, "no sampler"),
        ({"sampler": "rs2", "sampler_options": ("fraction",)}, "not name=value"),
    ],
)
def test_what_settings_cannot_mean_is_refused(settings, match):
    with pytest.raises(ParameterError, match=match):
        FitSettings(**settings)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("recency-bias", {"presure": 3}, "takes no presure"),
        ("recency-bias", {"pressure": 0.5}, "pressure"),
        ("rs2", {"uniform_mix": 0.5}, "plans its epochs"),
    ],
)
def test_options_of_samplers_are_checked(name, options, match):
    with pytest.raises(ParameterError, match=match):
        training(name, options)


@pytest.mark.parametrize("name", ["rs2", "info-batch", "recency-bias"])
def test_the_place_counts_the_batches_of_its_own_epoch(name, tmp_path):
    """Of a shorter epoch as many as it has, in a run that goes on too."""
    whole = training(name)
    told = []

    def after_step():
        told.append(whole.place())

    lengths = []
    for _ in whole.run(after_step=after_step):
        lengths.append(len(told) - sum(lengths))
    expected = [
        f"batch {batch} of {length} in epoch {epoch} of {EPOCHS}"
        for epoch, length in enumerate(lengths, 1)
        for batch in range(1, length + 1)
    ]
    assert told == expected
    cut = training(name)
    trained(cut, sum(lengths[:3]) + 1)
    save_checkpoint(tmp_path / "checkpoint", cut, {})
    again = training(name)
    load_checkpoint(tmp_path / "checkpoint", again)
    assert again.place() == expected[sum(lengths[:3])]
