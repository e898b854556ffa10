"""Samples known to be of no class: whatever a method makes of them, they get no other label."""

import pytest
import torch
import torch.nn.functional as F

from thresher.errors import ParameterError
from thresher.noise import SELFIE, Decision, Method, Standard

N, K = 12, 3
FOREIGN = torch.arange(N) % 4 == 0


def given():
    return torch.arange(N) % K


def settled_on(classes, epochs, **options):
    """SELFIE after epochs in which the network predicts these classes, and its last parts."""
    logits = (6.0 * F.one_hot(classes, K)).requires_grad_()
    criterion = SELFIE(0.9, warmup=2, window=2, **options).start(
        N, K, epochs=9, out_of_distribution=FOREIGN
    )
    for _ in range(epochs):
        parts = criterion.parts(torch.arange(N), logits, given())
        criterion.applied(criterion.end_epoch())
    return criterion, logits, parts


def test_selfie_refurbishes_the_others_only():
    """All predictions are one class beside the given; a foreign sample keeps what it has."""
    criterion, logits, parts = settled_on((given() + 1) % K, 4)
    refurbished = criterion.history["refurbished"].long()
    assert refurbished[FOREIGN].tolist() == [-1] * 3
    assert refurbished[~FOREIGN].tolist() == ((given() + 1) % K)[~FOREIGN].tolist()
    # of twelve equal losses the two first are clean: 0, which is foreign, with its given label
    targets = torch.where(FOREIGN, given(), (given() + 1) % K)
    losses = F.cross_entropy(logits, targets, reduction="none")
    learned = ~FOREIGN | (torch.arange(N) == 0)
    torch.testing.assert_close(parts.sums, losses[learned].sum()[None])
    assert parts.totals.tolist() == [10]


@pytest.mark.parametrize("reuse", [False, True])
def test_a_sample_marked_later_is_relabelled_no_more(reuse):
    """Though it was refurbished before, and would be used again."""
    criterion, logits, _ = settled_on((given() + 1) % K, 4, reuse=reuse)
    criterion.history["out_of_distribution"].fill_(True)
    parts = criterion.parts(torch.arange(N), logits, given())
    assert parts.totals[0] <= 2  # the clean ones, with their given label, at most
    rows = F.cross_entropy(logits, given(), reduction="none")
    torch.testing.assert_close(parts.sums, rows[:1].sum()[None] * parts.totals)


class Fixed(Method):
    """Answers what it was told."""

    name = "fixed"

    def __init__(self, decision):
        self.decision = decision

    def decide(self, step):
        return self.decision


@pytest.mark.parametrize("form", ["classes", "shares"])
def test_any_method_drops_what_it_would_relabel(form):
    """Targets of either form; samples of the classes go on as decided."""
    relabelled = torch.arange(N) < 6
    targets = torch.where(relabelled, (given() + 1) % K, given())
    shares = 0.4 / K + 0.6 * F.one_hot(targets, K)
    decision = Decision(targets=targets if form == "classes" else shares[None])
    logits = torch.randn(N, K, generator=torch.Generator().manual_seed(0))
    criterion = Fixed(decision).start(N, K, out_of_distribution=FOREIGN)
    parts = criterion.parts(torch.arange(N), logits, given())
    kept = ~(FOREIGN & relabelled)
    losses = F.cross_entropy(logits, targets if form == "classes" else shares, reduction="none")
    torch.testing.assert_close(parts.sums, losses[kept].sum()[None])
    assert parts.totals.tolist() == [float(kept.sum())]


def test_weights_of_several_networks_are_kept_apart():
    """What one of them relabels, the other may learn from as given."""

    class Two(Fixed):
        networks = 2

    targets = torch.stack([given(), (given() + 1) % K])
    criterion = Two(Decision(torch.full((2, N), 0.5), targets)).start(
        N, K, out_of_distribution=FOREIGN
    )
    parts = criterion.parts(torch.arange(N), torch.zeros(2, N, K), given())
    assert parts.totals.tolist() == [6.0, 4.5]


def test_a_person_knows_better():
    """A trusted sample counts with its given label, foreign or not."""
    decision = Decision(targets=(given() + 1) % K)
    everyone = torch.ones(N, dtype=torch.bool)
    criterion = Fixed(decision).start(N, K, out_of_distribution=everyone, trusted=FOREIGN)
    assert criterion.parts(torch.arange(N), torch.zeros(N, K), given()).totals.tolist() == [3]


def test_a_method_that_relabels_nothing_is_not_touched():
    """Being foreign is no reason to be dropped by itself."""
    logits = torch.randn(N, K, generator=torch.Generator().manual_seed(0))
    marked = Standard().start(N, K, out_of_distribution=FOREIGN)
    plain = Standard().start(N, K)
    first, second = (each.parts(torch.arange(N), logits, given()) for each in (marked, plain))
    assert torch.equal(first.sums, second.sums)
    assert "out_of_distribution" not in plain.history


def test_the_marks_are_saved_with_the_history():
    """A run that is resumed knows them, whenever they were made."""
    first = Standard().start(N, K, out_of_distribution=torch.zeros(N, dtype=torch.bool))
    first.history["out_of_distribution"][3] = True
    second = Standard().start(N, K, out_of_distribution=torch.zeros(N, dtype=torch.bool))
    second.load_state_dict(first.state_dict())
    assert second.history["out_of_distribution"].nonzero().flatten().tolist() == [3]


def test_marks_of_another_shape_are_refused():
    """As for held-out rows."""
    with pytest.raises(ParameterError, match=r"out_of_distribution must be \(12,\) bool"):
        Standard().start(N, K, out_of_distribution=FOREIGN[:3])
