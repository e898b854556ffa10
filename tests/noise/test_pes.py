"""PES: which blocks begin anew and when, what is fixed meanwhile, and who is confident."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from thresher.errors import ModelError, ParameterError
from thresher.models import build_model
from thresher.noise import PES
from thresher.noise.pes import balancing_weights, confident
from thresher.training.snapshots import Snapshots

N, D, K = 24, 6, 3


def network():
    return build_model("mlp", shape=(D,), classes=K, seed=0)


def watched(method, epochs=16, model=None):
    """Train, and yield the epochs done, the change, and the weights before and after the epoch."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(N, D, generator=generator), torch.arange(N) % K
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    criterion = method.start(N, K, epochs=epochs)
    snapshots = Snapshots(model, optimizer, criterion)
    for epoch in range(epochs):
        before = {name: values.clone() for name, values in model.state_dict().items()}
        for index in torch.arange(N).split(8):
            optimizer.zero_grad()
            criterion(index, model(x[index]), y[index]).backward()
            optimizer.step()
        moved = {
            name for name, values in model.state_dict().items() if not values.equal(before[name])
        }
        yield epoch + 1, snapshots.apply(criterion.end_epoch()), moved


# ---------------------------------------------------------------- phases
def test_later_blocks_begin_anew_one_phase_after_the_other():
    """Of 16 epochs: 4 for everything, 2 for the last two parts, 2 for the last, the rest."""
    changes = {done: change for done, change, _ in watched(PES()) if change is not None}
    assert [4, 6, 8] == list(changes)
    assert ("body.3", "head") == changes[4].reset
    assert ("body.1.weight", "body.1.bias") == changes[4].freeze
    assert ("head",) == changes[6].reset
    assert 4 == len(changes[6].freeze)
    assert changes[8].thaw == ("",)
    assert not changes[8].reset


def test_what_is_fixed_does_not_move_and_learns_again_in_the_end():
    """Neither by momentum nor by weight decay."""
    moved = {done: names for done, _, names in watched(PES())}
    front, middle, head = (
        {f"{part}.weight", f"{part}.bias"} for part in ("body.1", "body.3", "head")
    )
    assert front | middle | head == moved[4]
    assert middle | head == moved[5] == moved[6]
    assert head == moved[7] == moved[8]
    assert front | middle | head == moved[16]


def test_a_block_that_begins_anew_is_another_than_before_and_the_front_is_kept():
    model = network()
    run = watched(PES(), model=model)
    for _ in range(3):
        next(run)
    early = {name: values.clone() for name, values in model.state_dict().items()}
    done, _, moved = next(run)
    assert done == 4
    fresh = model.state_dict()
    size = (fresh["head.weight"] - early["head.weight"]).abs().mean()
    epoch_size = (fresh["body.1.weight"] - early["body.1.weight"]).abs().mean()
    assert size > 3 * epoch_size  # an epoch moves a block by far less than a fresh start
    assert moved


def test_named_blocks_take_the_place_of_those_that_are_found():
    changes = [
        change
        for _, change, _ in watched(PES(later=(["body", "head"], ["body.3", "head"])))
        if change is not None
    ]
    assert ("body", "head") == changes[0].reset
    assert () == changes[0].freeze
    assert ("body.3", "head") == changes[1].reset


def test_a_network_of_one_layer_has_nothing_to_renew():
    """All phases pass; everything learns throughout."""
    for done, change, moved in watched(PES(), model=nn.Linear(D, K)):
        if change is not None:
            assert () == change.reset == change.freeze, done
        assert {"weight", "bias"} == moved


def test_phases_shrink_with_the_run_and_are_the_papers_in_a_long_one():
    assert (25, 32, 37) == PES().start(N, K, epochs=200).method.ends
    assert (15, 22, 27) == PES().start(N, K, epochs=60).method.ends
    assert (2, 3, 4) == PES().start(N, K, epochs=8).method.ends
    assert (25, 32, 37) == PES().start(N, K).method.ends


# ---------------------------------------------------------------- confident samples
def test_confident_is_who_was_predicted_as_given_every_time():
    """A single dissent among the last predictions is enough; older ones are forgotten."""
    history = PES(window=2).start(3, K, epochs=8).history
    labels = torch.tensor([1, 1, 1])
    for predictions in ([1, 0, 0], [1, 1, 0], [1, 1, 1]):
        logits = torch.nn.functional.one_hot(torch.tensor(predictions), K).float()
        history.observe(torch.arange(3), logits, labels)
    assert [True, True, False] == confident(history, torch.arange(3), labels, 2).tolist()
    assert [True, True, True] == confident(history, torch.arange(3), labels, 1).tolist()


def test_nobody_is_confident_before_the_first_prediction():
    history = PES().start(3, K, epochs=8).history
    assert not confident(history, torch.arange(3), torch.zeros(3).long(), 2).any()


def last_phase(**options):
    criterion = PES(window=1, **options).start(N, K, epochs=8, audit=False)
    criterion.epoch = criterion.history.epoch = 4
    return criterion


def test_confident_samples_are_learned_with_the_weight_of_their_class():
    """Mean of w·CE over the sum of w, of those predicted as given."""
    criterion = last_phase()
    criterion.method.class_weights = [1.0, 2.0, 3.0]
    labels = torch.tensor([0, 1, 2, 2])
    logits = 4.0 * torch.nn.functional.one_hot(torch.tensor([0, 1, 0, 2]), K)
    criterion.history.observe(torch.arange(4), logits, labels)  # an epoch before
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    loss = criterion(torch.arange(4), logits, labels)
    torch.testing.assert_close(loss, (losses[0] + 2 * losses[1] + 3 * losses[3]) / 6)


def test_who_was_confident_is_learned_from_though_taken_for_another_now():
    """And who is taken for it only now is not: this step's predictions count in the next."""
    criterion = last_phase()
    labels = torch.tensor([0, 0])
    criterion.history.observe(torch.arange(2), torch.tensor([[4.0, 0, 0], [0, 4.0, 0]]), labels)
    logits = torch.tensor([[0, 4.0, 0], [4.0, 0, 0]], requires_grad=True)
    criterion(torch.arange(2), logits, labels).backward()
    assert logits.grad[0, 0] < -0.9
    assert not logits.grad[1].any()


def test_without_a_confident_sample_nothing_is_learned():
    logits = torch.zeros(4, K, requires_grad=True)
    parts = last_phase().parts(torch.arange(4), logits, torch.tensor([1, 2, 1, 2]))
    assert [0.0] == parts.totals.tolist()
    parts.mean().backward()
    assert not logits.grad.any()


@pytest.mark.parametrize("balance", [True, False])
def test_classes_are_weighed_anew_after_every_epoch_of_the_last_phase(balance):
    """By their confident samples, held-out ones left out."""
    held_out = torch.zeros(N, dtype=torch.bool)
    held_out[0] = True
    criterion = PES(window=1, balance=balance).start(N, K, epochs=8, held_out=held_out)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = torch.tensor([0, 0, 0, 0, 1, 1, 2, 0])
    criterion.history.observe(
        torch.arange(8), torch.nn.functional.one_hot(predicted, K).float(), labels
    )
    assert [3, 2, 1] == criterion.method.confident_counts().tolist()
    for epoch in range(4):
        assert [] == criterion.method.class_weights, epoch
        criterion.applied(criterion.end_epoch())
    expected = [2 / 3, 1.0, 2.0] if balance else []
    assert expected == pytest.approx(criterion.method.class_weights)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8))
def test_balanced_classes_count_alike_unless_one_is_very_rare(counts):
    """Weight times count is the same for all classes with samples, up to the limit."""
    counts = torch.tensor(counts)
    weights = balancing_weights(counts)
    assert ((weights > 0) & (weights <= 3)).all()
    products = (weights * counts)[(counts > 0) & (weights < 3)]
    if len(products):
        torch.testing.assert_close(products, products[:1].expand_as(products))


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"front_epochs": 0}, "front_epochs must be positive, got 0"),
        ({"window": 0}, "window must be positive, got 0"),
        ({"later": ["head"]}, "later must be two lists of module names"),
        ({"later": ("body", "head")}, "later must be two lists of module names"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        PES(**options)


def test_written_phases_must_leave_an_epoch_for_confident_samples():
    with pytest.raises(ParameterError, match="take 8 epochs of 8") as refused:
        PES(front_epochs=6, middle_epochs=1, last_epochs=1).start(N, K, epochs=8)
    assert "front_epochs" in refused.value.fix


def test_a_name_that_the_network_does_not_have_is_refused_when_it_is_wanted():
    with pytest.raises(ModelError, match='no parameters under "layer4"'):
        list(watched(PES(later=(["layer4"], ["head"]))))


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_no_block_begins_anew_when_the_run_is_over(epochs):
    """It would never learn."""
    *_, (done, change, _) = watched(PES(), epochs=epochs)
    assert done == epochs
    assert change is None
