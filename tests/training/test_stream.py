"""A further stream: what is drawn belongs to the place in the run, and every row has its turn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from small_training import N, assert_equal, data, network, weights
from thresher.distributed import shares
from thresher.errors import DataError
from thresher.noise import OAT
from thresher.training.augment import Augmentation
from thresher.training.loop import Rows, Settings, Training
from thresher.training.stream import Stream, rows_of_step


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 9))
def test_no_row_comes_more_than_once_more_than_another(rows, wanted, batch):
    """As many as wanted, however few there are."""
    counts = rows_of_step(rows, wanted, 0, 3, batch).bincount(minlength=rows)
    assert counts.sum() == wanted
    assert counts.max() - counts.min() <= 1


def test_a_draw_belongs_to_seed_epoch_and_batch():
    """And to no generator of the process."""
    torch.manual_seed(0)
    first = rows_of_step(1000, 8, 5, 2, 1)
    torch.manual_seed(1)
    assert torch.equal(first, rows_of_step(1000, 8, 5, 2, 1))
    others = [rows_of_step(1000, 8, *key) for key in ((6, 2, 1), (5, 3, 1), (5, 2, 0))]
    assert len({tuple(each.tolist()) for each in [first, *others]}) == 4


def test_in_the_long_run_every_row_is_drawn_as_often():
    """Not the first ones over and over: 2,000 draws of 10 of 50, five standard errors."""
    counts = torch.zeros(50)
    for batch in range(2000):
        counts += rows_of_step(50, 10, 0, batch % 7, batch).bincount(minlength=50)
    error = (2000 * 0.2 * 0.8) ** 0.5
    assert (counts - 400).abs().max() <= 5 * error


def test_the_parts_of_all_processes_are_the_draw_of_one():
    """In the order of the processes, augmented and prepared alike."""
    images = torch.randint(256, (30, 8, 8, 1), dtype=torch.uint8)
    stream = Stream(images, lambda raw: raw.float() / 255, Augmentation(("flip", "crop"), 4), 4)
    whole = stream.draw(13, 2, 5)
    assert whole.inputs.shape == (13, 8, 8, 1)
    parts = [stream.draw(13, 2, 5, part=part) for part in shares(13, 3)]
    assert torch.equal(whole.index, torch.cat([each.index for each in parts]))
    assert torch.equal(whole.inputs, torch.cat([each.inputs for each in parts]))


def test_an_empty_stream_is_refused():
    """Before the first step asks for a row."""
    with pytest.raises(DataError, match="holds no row"):
        Stream(torch.zeros(0, 3), lambda raw: raw)


def seen_in(settings):
    """The rows of the stream that each step of a training draws, and its weights."""
    x, y = data()
    drawn = []

    class Watched(Stream):
        def draw(self, wanted, epoch, batch, **options):
            found = super().draw(wanted, epoch, batch, **options)
            drawn.append((epoch, batch, wanted, tuple(found.index.tolist())))
            return found

    rows = Rows(x, y, torch.arange(N), prepare=lambda inputs: inputs)
    criterion = OAT().start(N, 3, epochs=2, labels=y)
    model = network()
    streams = {"auxiliary": Watched(x.flip(1), rows.prepare, seed=settings.seed)}
    list(Training(model, criterion, rows, settings, streams=streams).run())
    return drawn, weights(model)


def test_every_batch_draws_as_many_rows_as_it_has_and_others_than_the_last():
    """Seven batches an epoch, the last one of four rows; nothing repeats in the second epoch."""
    drawn, _ = seen_in(Settings(epochs=2, batch_size=16))
    assert [(e, b, 16 if b < 6 else 4) for e in (0, 1) for b in range(7)] == [
        each[:3] for each in drawn
    ]
    assert len({each[3] for each in drawn}) == 14


def test_batches_of_one_step_draw_as_if_each_were_a_step():
    """Accumulated batches have places of their own in the run."""
    drawn, _ = seen_in(Settings(epochs=2, batch_size=16))
    accumulated, _ = seen_in(Settings(epochs=2, batch_size=16, accumulate=2))
    assert drawn == accumulated


def test_a_training_with_a_stream_repeats_itself():
    """Bit for bit."""
    settings = Settings(epochs=2, batch_size=16, seed=9)
    (first, one), (second, other) = seen_in(settings), seen_in(settings)
    assert first == second
    assert_equal(one, other)
