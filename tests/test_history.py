"""SampleHistory: what it counts, against a slow oracle that counts one visit at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import LabelError, ParameterError, RecordError
from thresher.history import (
    AUDIT,
    BOUNDARY_DISTANCE,
    LAST_LOSS,
    Column,
    SampleHistory,
)
from thresher.label_history import prediction_counts, uncertainty


def observe_randomly(history, visits, seed=0, batch=7, repeat=False):
    """Feed random batches; returns the visits as (index, logits, label) in order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(history.classes, (history.samples,), generator=generator)
    seen = []
    for _ in range(visits):
        if repeat:
            index = torch.randint(history.samples, (batch,), generator=generator)
        else:
            index = torch.randperm(history.samples, generator=generator)[:batch]
        logits = torch.randn(batch, history.classes, generator=generator)
        history.observe(index, logits, labels[index])
        seen += [(int(i), row, int(labels[i])) for i, row in zip(index, logits, strict=True)]
    return seen


def counted_slowly(seen, samples, classes):
    """The oracle: one visit after the other, in Python numbers."""
    names = [
        "visits",
        "correct",
        "forgetting",
        "loss_sum",
        "margin_sum",
        "given_sum",
        "given_square_sum",
    ]
    found = {name: np.zeros(samples) for name in names}
    found["probability_sum"] = np.zeros((samples, classes))
    found["last_prediction"] = np.full(samples, -1)
    found["last_loss"] = np.full(samples, np.nan)
    found["boundary_distance"] = np.full(samples, np.nan)
    for i, logits, label in seen:
        z = logits.double().numpy()
        p = np.exp(z - z.max())
        p /= p.sum()
        prediction = int(z.argmax())
        found["visits"][i] += 1
        found["correct"][i] += prediction == label
        found["forgetting"][i] += found["last_prediction"][i] == label and prediction != label
        found["loss_sum"][i] -= math.log(p[label])
        found["margin_sum"][i] += z[label] - np.delete(z, label).max()
        found["given_sum"][i] += p[label]
        found["given_square_sum"][i] += p[label] ** 2
        found["probability_sum"][i] += p
        found["last_prediction"][i] = prediction
        found["last_loss"][i] = -math.log(p[label])
        largest = math.sqrt(classes - 1) / classes
        found["boundary_distance"][i] = p.std() / largest * (1 if prediction == label else -1)
    return found


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("block", [1, 20, 10_000])
def test_columns_equal_a_count_one_visit_at_a_time(repeat, block):
    """Whatever the block size, and with samples drawn twice in a batch."""
    history = SampleHistory(11, 4)
    history.declare(*AUDIT, LAST_LOSS, BOUNDARY_DISTANCE)
    history._block_rows = block
    seen = observe_randomly(history, 30, repeat=repeat)
    for name, expected in counted_slowly(seen, 11, 4).items():
        np.testing.assert_allclose(
            history[name].numpy(), expected, rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_a_sample_twice_in_a_batch_is_two_predictions():
    """As when the two come one after the other."""
    index, labels = torch.tensor([1, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 0, 0])
    logits = torch.eye(4)[[3, 2, 1, 1, 0]]
    together, alone = (SampleHistory(3, 4, repeats=True) for _ in range(2))
    for history in (together, alone):
        history.declare(
            Column("predictions", "class", width=4, fill=-1),
            Column("pushes", torch.int32),
            Column("run_label", "class", fill=-1),
            Column("run_length", torch.int16),
        )
    together.observe(index, logits, labels)
    for row in range(5):
        alone.observe(index[row : row + 1], logits[row : row + 1], labels[row : row + 1])
    for name in ("predictions", "pushes", "run_label", "run_length"):
        assert together[name].tolist() == alone[name].tolist()
    assert [1, 3, 1] == together["pushes"].tolist()


def test_probabilities_are_averaged_from_the_window_on():
    """Visits before the window count as visits only."""
    history = SampleHistory(2, 2, window_start=1)
    history.declare(*AUDIT)
    index, labels = torch.tensor([0]), torch.tensor([1])
    history.observe(index, torch.tensor([[5.0, 0.0]]), labels)
    history.flush()
    history.epoch = 1
    history.observe(index, torch.tensor([[0.0, 0.0]]), labels)
    assert history["visits"].tolist() == [2, 0]
    assert history["window_visits"].tolist() == [1, 0]
    assert history["probability_sum"][0].tolist() == [0.5, 0.5]


def test_compact_form_equals_the_dense_one_while_few_classes_matter(monkeypatch):
    """With at most eight classes ever probable, nothing is lost."""
    dense = SampleHistory(9, 30)
    dense.declare(*AUDIT)
    monkeypatch.setattr("thresher.history.DENSE_BYTES", 0)
    compact = SampleHistory(9, 30)
    compact.declare(*AUDIT)
    assert "probability_sum" not in compact
    generator = torch.Generator().manual_seed(3)
    likely = torch.stack([torch.randperm(30, generator=generator)[:6] for _ in range(9)])
    for _ in range(12):
        logits = torch.full((9, 30), -30.0)
        logits.scatter_(1, likely, torch.randn(9, 6, generator=generator))
        for history in (dense, compact):
            history.observe(torch.arange(9), logits, likely[:, 0])
    for row in range(9):
        expected = dense["probability_sum"][row]
        for label, total in zip(
            compact["top_classes"][row].tolist(), compact["top_sums"][row].tolist(), strict=True
        ):
            assert total == pytest.approx(float(expected[label]), abs=1e-5)
        assert set(likely[row].tolist()) <= set(compact["top_classes"][row].tolist())
    torch.testing.assert_close(
        compact["given_window_sum"], dense["probability_sum"].gather(1, likely[:, :1]).squeeze(1)
    )


@pytest.mark.parametrize("repeats", [False, True])
def test_predictions_that_wait_are_those_that_were_read_at_once(repeats):
    """Blocks of steps, in which a row comes more often than its ring is long, change nothing."""
    generator = torch.Generator().manual_seed(0)
    at_once, later = (SampleHistory(12, 4, repeats=repeats) for _ in range(2))
    for history in (at_once, later):
        history.declare(
            Column("predictions", "class", width=3, fill=-1),
            Column("pushes", torch.int32),
            Column("run_label", "class", fill=-1),
            Column("run_length", torch.int16),
        )
    names = ("predictions", "pushes", "run_label", "run_length")
    for step in range(40):
        index = torch.randint(0, 12, (9,), generator=generator)
        if not repeats:
            index = torch.randperm(12, generator=generator)[:9]
        logits = torch.randn(9, 4, generator=generator)
        for history in (at_once, later):
            history.observe(index, logits, index % 4)
        _ = at_once["pushes"]
        if step % 13 == 12:
            stored = later.running_state()
            assert all(torch.equal(stored[name], at_once[name]) for name in names)
    assert int(later["pushes"].max()) > 12
    assert all(torch.equal(later[name], at_once[name]) for name in names)


@given(
    stream=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=25),
    window=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_ring_counts_the_last_predictions_and_run_length_the_unanimous_ones(stream, window):
    """The ring and the run-length form are two views of one stream."""
    history = SampleHistory(5, 4)
    history.declare(
        Column("predictions", "class", width=window),
        Column("pushes", torch.int32),
        Column("run_label", "class", fill=-1),
        Column("run_length", torch.int16),
    )
    index = torch.arange(5)
    for predictions in stream:
        logits = torch.nn.functional.one_hot(torch.tensor(predictions), 4).float()
        history.observe(index, logits, torch.zeros(5, dtype=torch.int64))
    counts, mode = prediction_counts(history["predictions"], history["pushes"], 4)
    for sample in range(5):
        last = [predictions[sample] for predictions in stream][-window:]
        assert counts[sample].tolist() == [last.count(label) for label in range(4)]
        most = max(last.count(label) for label in last)
        latest = next(label for label in reversed(last) if last.count(label) == most)
        assert int(mode[sample]) == latest
        unanimous = len(last) == window and len(set(last)) == 1
        assert bool(history["run_length"][sample] >= window) == unanimous


@given(
    stream=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=25),
    window=st.integers(1, 6),
    longer=st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_ring_that_is_longer_for_another_reader_tells_each_the_same(stream, window, longer):
    """Whoever declares first; the last q of more than q predictions are those of a ring of q."""
    index, found = torch.arange(5), []
    for widths in ([window], [window, window + longer], [window + longer, window]):
        history = SampleHistory(5, 4)
        for width in widths:
            history.declare(Column("predictions", "class", width=width))
        history.declare(Column("pushes", torch.int32))
        for predictions in stream:
            logits = torch.nn.functional.one_hot(torch.tensor(predictions), 4).float()
            history.observe(index, logits, torch.zeros(5, dtype=torch.int64))
        found.append(prediction_counts(history["predictions"], history["pushes"], 4, window))
    for counts, mode in found[1:]:
        assert torch.equal(found[0][0], counts)
        assert torch.equal(found[0][1], mode)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([8, 0, 0, 0], 0.0), ([4, 4, 0, 0], math.log(2) / math.log(4)), ([2, 2, 2, 2], 1.0)],
)
def test_uncertainty_of_unanimous_split_and_uniform_histories(counts, expected):
    """F is 0, ln 2 / ln k and 1."""
    assert float(uncertainty(torch.tensor([counts]).float())) == pytest.approx(expected, abs=1e-6)


def test_reading_what_was_not_declared_says_so():
    """The error names the column and what there is."""
    with pytest.raises(RecordError, match=r'no column "visits"; it records eligible, given'):
        SampleHistory(3, 2)["visits"]


def test_declaring_after_the_first_batch_is_refused():
    """What was not recorded cannot be asked for later."""
    history = SampleHistory(3, 2)
    history.observe(torch.tensor([0]), torch.zeros(1, 2), torch.tensor([1]))
    with pytest.raises(RecordError, match="after the first batch"):
        history.declare(Column("late"))


def test_declaring_a_column_in_two_shapes_is_refused():
    """Two owners must not share a name by accident."""
    history = SampleHistory(3, 2)
    history.declare(Column("mine", width=2))
    history.declare(Column("mine", width=2))
    with pytest.raises(RecordError, match="declared twice"):
        history.declare(Column("mine", width=3))


@pytest.mark.parametrize(("index", "label", "error"), [(0, 2, LabelError), (9, 0, RecordError)])
def test_a_label_or_index_out_of_range_is_named(index, label, error):
    """The sample, its label and the allowed range stand in the message."""
    with pytest.raises(error, match=str(index)):
        SampleHistory(3, 2).check_labels(torch.tensor([1, index]), torch.tensor([1, label]))


@pytest.mark.parametrize(("samples", "classes"), [(0, 2), (3, 1)])
def test_sizes_out_of_range_are_refused(samples, classes):
    """No samples, or one class, is no task."""
    with pytest.raises(ParameterError):
        SampleHistory(samples, classes)


def test_state_round_trip_keeps_every_column():
    """And what is pending is part of it."""
    first, second = SampleHistory(11, 4), SampleHistory(11, 4)
    for history in (first, second):
        history.declare(*AUDIT)
    observe_randomly(first, 5)
    second.load_state_dict(first.state_dict())
    for name, values in first.state_dict().items():
        assert torch.equal(values, second[name]), name


def test_state_of_other_data_is_refused():
    """A history of 4 samples does not fit one of 5."""
    with pytest.raises(RecordError, match="4 samples"):
        SampleHistory(4, 2).load_state_dict(SampleHistory(5, 2).state_dict())


def test_audit_columns_stay_within_their_byte_budget():
    """At most 64 bytes a sample besides the (N, k) sums."""
    history = SampleHistory(1000, 10)
    history.declare(*AUDIT)
    columns = history.state_dict()
    columns.pop("probability_sum")
    assert sum(values.element_size() * values[0].numel() for values in columns.values()) <= 64


def test_what_is_predicted_of_held_out_rows_is_averaged_while_they_are_held_out():
    """p (1 - β) + p β (1 - β) after two visits, β = .7; nothing more once they are released."""
    history = SampleHistory(4, 2)
    history.declare(Column("visits", torch.int32))
    held_out = torch.tensor([False, True, False, True])
    history.hold_out(held_out)
    index, labels = torch.arange(4), torch.zeros(4, dtype=torch.int64)
    logits = torch.tensor([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    p = logits.softmax(1)[held_out]
    for _ in range(2):
        history.observe(index, logits, labels)
    assert torch.allclose(history.state_dict()["held_out_average"], p * 0.3 * 1.7)
    history.release()
    history.observe(index, -logits, labels)
    assert history["eligible"].all()
    state = history.state_dict()
    assert torch.allclose(state["held_out_average"], p * 0.3 * 1.7)
    assert [2, 2] == state["held_out_visits"].tolist()
    again = SampleHistory(4, 2)
    again.declare(Column("visits", torch.int32))
    again.hold_out(~held_out)
    again.load_state_dict(state)
    assert [1, 3] == again.state_dict()["held_out_rows"].tolist()
    with pytest.raises(RecordError, match="after the first batch"):
        again.hold_out(held_out)
