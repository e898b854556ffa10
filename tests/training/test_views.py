"""Second views: what the loop hands to a method that compares two of them."""

import pytest
import torch
from torch import nn

from thresher.errors import ParameterError
from thresher.noise import MORPH, Method
from thresher.noise.method import Decision
from thresher.training.augment import Augmentation
from thresher.training.loop import Rows, Settings, Training

N, K, SIDE = 24, 3, 8


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (N, SIDE, SIDE, 1), dtype=torch.uint8, generator=generator)


def prepared(raw):
    return raw.float().flatten(1) / 255


def training(method, augment, epochs=8):
    labels = torch.arange(N) % K
    rows = Rows(images(), labels, torch.arange(N), prepared, augment)
    criterion = method.start(N, K, epochs=epochs, labels=labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(SIDE * SIDE, 16), nn.BatchNorm1d(16), nn.Linear(16, K))
    return Training(model, criterion, rows, Settings(epochs=epochs, batch_size=8))


class Compared(Method):
    """Keeps the outputs of both views of the last step."""

    name = "compared"
    views = 2

    def decide(self, step):
        self.first, self.second = step.logits, step.rest
        return Decision()


def test_the_second_view_follows_the_first_in_one_forward_pass():
    """Rows 0 … B - 1 are the batch as ever, rows B … 2B - 1 the same samples in another view."""
    augment = Augmentation(("crop", "flip"), 0)
    trainer = training(Compared(), augment)
    index = torch.tensor([5, 3, 20])
    batch = trainer.rows.batch(index, 2, torch.device("cpu"), views=2)
    for view in (0, 1):
        expected = prepared(augment(images()[index], index, 2, view))
        assert torch.equal(batch.inputs[3 * view : 3 * view + 3], expected)
    assert batch.labels.tolist() == [2, 0, 2]


def test_a_method_gets_the_outputs_of_both_views():
    """As many rows each; different views, different outputs."""
    trainer = training(Compared(), Augmentation(("crop",), 0))
    trainer._step([torch.arange(8)], 0)
    method = trainer.criterion.method
    assert method.first.shape == method.second.shape == (1, 8, K)
    assert not torch.equal(method.first, method.second)


def test_the_history_remembers_the_first_view_alone():
    """One visit an epoch."""
    trainer = training(Compared(), Augmentation(("crop",), 0), epochs=3)
    list(trainer.run())
    assert trainer.criterion.history["visits"].tolist() == [3] * N


def test_morph_with_consistency_trains_through_both_phases():
    """And comes to the same weights again."""
    states = []
    for _ in range(2):
        trainer = training(MORPH(0.2, consistency=5.0), Augmentation(("crop",), 0), epochs=20)
        losses = [epoch.loss for epoch in trainer.run()]
        assert trainer.criterion.method.switched_at > 0
        assert losses[-1] < losses[0]
        states.append(trainer.model.state_dict())
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())


def test_views_of_data_without_augmentation_are_refused_before_training():
    """They would all be equal."""
    with pytest.raises(ParameterError, match="morph compares 2 random views") as refused:
        training(MORPH(0.2, consistency=5.0), None)
    assert "augmentation" in refused.value.fix
