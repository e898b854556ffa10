"""What the adapters of foreign trainers have in common."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import MORPH, SELFIE, Backward, DivideMix, Forward, Mixup, Standard
from thresher.training.attached import AttachedCriterion

N, K = 6, 3


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (SELFIE(0.3, restarts=1), "selfie begins anew"),
        (Forward(), "forward begins anew.*two trainings"),
        (Mixup(), "mixup needs more than the outputs"),
        (DivideMix(), "dividemix needs more than the outputs"),
        (MORPH(0.3, consistency=5.0), "morph needs more than the outputs"),
    ],
)
def test_a_method_that_a_foreign_trainer_cannot_serve_is_refused_at_once(method, message):
    """Its schedule is the trainer's, and so is its forward pass."""
    with pytest.raises(ParameterError, match=message):
        AttachedCriterion(method.start(N, K, epochs=8))


def begun(attached):
    """As the trainer does it when it begins to train."""
    model = nn.Linear(2, K)
    attached.begin(model, torch.optim.SGD(model.parameters(), lr=0.1))
    return attached


@pytest.mark.parametrize("method", [Forward, Backward])
def test_what_one_training_estimates_the_next_corrects_by(method):
    """Where a trainer cannot begin anew within a run."""
    first = begun(AttachedCriterion(method(warmup=2, anew=False).start(N, K, epochs=2)))
    given = torch.arange(N) % K
    outputs = (2.0 * torch.eye(K)[given]).requires_grad_()
    for _ in range(2):
        assert first.criterion.method.transition is None
        first.loss(torch.arange(N), outputs, given)
        first.end_epoch()
    found = torch.tensor(first.criterion.method.transition)
    torch.testing.assert_close(found, outputs.detach()[:K].softmax(1))
    second = begun(AttachedCriterion(method(found.tolist()).start(N, K, epochs=4)))
    assert second.loss(torch.arange(N), outputs, given).isfinite()


def test_a_loaded_state_is_taken_over_when_the_training_begins_and_only_then():
    """A second training of the same trainer goes on from where the first one ended."""
    stored = begun(AttachedCriterion(Standard().start(N, K)))
    stored.end_epoch()
    attached = AttachedCriterion(Standard().start(N, K))
    attached.load_state_dict(stored.state_dict())
    assert attached.criterion.epoch == 0
    assert begun(attached).criterion.epoch == 1
    attached.end_epoch()
    assert begun(attached).criterion.epoch == 2
