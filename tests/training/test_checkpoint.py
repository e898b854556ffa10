"""Checkpoints: what is read is what was written, or it is refused by name; two are kept."""

import errno
import json
import os
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

import thresher.training.checkpoint as checkpoint
from thresher.errors import RunError
from thresher.noise import make_method
from thresher.training.checkpoint import (
    LEAST_SECONDS,
    SAVING_SHARE,
    Saver,
    load_last_checkpoint,
    load_tensors,
    save_tensors,
    stored_bytes,
    training_state,
)
from thresher.training.loop import Rows, Settings, Training

N, D, K = 60, 5, 3


def training(method="standard", *, labels=None, **settings):
    """Of 60 rows in batches of 10."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator)
    y = torch.randint(K, (N,), generator=generator) if labels is None else labels
    settings = Settings(**{"epochs": 3, "batch_size": 10} | settings)
    criterion = make_method(method).start(len(y), K, epochs=3, labels=y)
    rows = Rows(x, y, torch.arange(len(y)), prepare=lambda batch: batch)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Linear(D, K)
    return Training(model, criterion, rows, settings)


@pytest.fixture
def files(tmp_path):
    """Where the last checkpoint lies, and the one before it."""
    return tmp_path / "checkpoint.safetensors", tmp_path / "checkpoint-before.safetensors"


@pytest.fixture
def saved(files):
    """A training stopped in its second epoch, saved after every step."""

    def save(*arguments, steps=8, **settings):
        trainer, said = training(*arguments, **settings), []
        saver = Saver(*files, trainer, [], every=1e-9, note=said.append)
        taken = 0

        def after_step():
            nonlocal taken
            saver()
            taken += 1
            if taken == steps:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(trainer.run(after_step=after_step))
        assert not said
        return trainer

    return save


# ---------------------------------------------------------------------- a file
TYPES = list(checkpoint.TYPES)
tensors = st.builds(
    lambda dtype, shape, seed: (
        torch.rand(shape, generator=torch.Generator().manual_seed(seed)).mul(200).to(dtype)
    ),
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 99),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | tensors,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same(first, second):
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key, value in first.items():
            assert_same(value, second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, two in zip(first, second, strict=True):
            assert_same(one, two)
    else:
        assert first == second


@given(st.dictionaries(st.text(max_size=3) | st.integers(0, 9), values, max_size=4))
def test_what_is_read_is_what_was_written(tmp_path_factory, state):
    """Nested, of every type and shape, empty ones and single numbers among them."""
    path = tmp_path_factory.mktemp("file") / "state"
    save_tensors(path, state)
    assert_same(state, load_tensors(path))


def test_a_file_is_read_by_whatever_reads_safetensors(files, saved):
    """Numbers lie at multiples of their size, and the file holds what it was reckoned to."""
    trainer = saved()
    with safe_open(files[0], "np") as file:
        weight = file.get_tensor("/model/weight")
    assert (weight == trainer.snapshots.model.weight.detach().numpy()).all()
    with files[0].open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    assert start % 8 == 0
    held = {name: entry for name, entry in header.items() if name != "__metadata__"}
    size = {"I64": 8, "F32": 4, "I32": 4, "I16": 2}
    for entry in held.values():
        assert entry["data_offsets"][0] % size.get(entry["dtype"], 1) == 0
    digest = 32
    assert files[0].stat().st_size == start + stored_bytes(training_state(trainer)) + digest


def test_the_order_of_pixels_in_memory_comes_back(tmp_path):
    """Of a network that works on channels last: its sums are added in the same order again."""
    kernel = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_tensors(tmp_path / "state", {"kernel": kernel, "plain": kernel.contiguous()})
    found = load_tensors(tmp_path / "state")
    assert torch.equal(kernel, found["kernel"])
    assert found["kernel"].stride() == kernel.stride()
    assert found["plain"].is_contiguous()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_is_refused_by_name(tmp_path_factory, place, bit, cut):
    """One bit is enough, or one byte that is missing, wherever it is."""
    path = tmp_path_factory.mktemp("file") / "state"
    save_tensors(path, {"numbers": torch.arange(20), "words": {"epoch": 3}})
    content = bytearray(path.read_bytes())
    byte = int(place * len(content))
    content[byte] ^= 1 << bit
    path.write_bytes(content[:byte] if cut else content)
    with pytest.raises(RunError, match="state cannot be read"):
        load_tensors(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    """In the system's words."""
    with pytest.raises(RunError, match=r"nowhere cannot be read: .*No such file"):
        load_tensors(tmp_path / "nowhere")


def test_numbers_that_the_format_does_not_know_are_refused(tmp_path):
    """And nothing is left."""
    with pytest.raises(RunError, match=r"Cannot save /odd: the format knows no torch.complex128"):
        save_tensors(tmp_path / "state", {"odd": torch.zeros(2, dtype=torch.complex128)})
    assert not list(tmp_path.iterdir())


def test_what_is_no_json_is_refused(tmp_path):
    """Such as an object that a user's own module keeps; training goes on without the file."""
    with pytest.raises(RunError, match=r"Cannot write .*state: Object of type object"):
        save_tensors(tmp_path / "state", {"odd": object()})
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- two of them
def position(path):
    return load_tensors(path)["position"]


def test_the_last_two_are_kept(files, saved):
    """After every step: the last one, and the one of the step before."""
    saved(steps=8)
    assert [8, 7] == [position(path)["step"] for path in files]
    assert [(1, 2), (1, 1)] == [(at["epoch"], at["batches"]) for at in map(position, files)]
    assert set(files) == set(files[0].parent.iterdir())


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(left, files, saved):
    """Said by name; and the damaged one takes nobody's place when the next is saved."""
    saved(steps=8)
    files[0].write_bytes(files[0].read_bytes()[:left])
    trainer, said = training(), []
    assert load_last_checkpoint(*files, trainer, said.append) == {"epochs": []}
    assert trainer.position["step"] == 7
    assert len(said) == 1
    assert str(files[0]) in said[0]
    assert said[0].endswith("The checkpoint before it is used.")
    Saver(*files, trainer, [], note=said.append).save()
    assert [7, 7] == [position(path)["step"] for path in files]


def test_two_damaged_checkpoints_are_refused(files, saved):
    """There is nothing to go on from."""
    saved(steps=2)
    for path in files:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="cannot be read"):
        load_last_checkpoint(*files, training(), lambda sentence: None)


def test_without_a_checkpoint_nothing_is_loaded(files):
    """A run that was killed early starts over."""
    assert load_last_checkpoint(*files, training(), lambda sentence: None) is None


# ---------------------------------------------------------------------- of another training
def other_labels():
    labels = training().rows.labels.clone()
    labels[7] = (labels[7] + 1) % K
    return labels


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        ({"method": "gce"}, "its method is standard, here gce"),
        ({"labels": torch.zeros(N - 1, dtype=torch.int64)}, "its samples are 60, here 59"),
        ({"labels": other_labels()}, "its labels have the fingerprint .*, here "),
        ({"seed": 1}, "its seed is 0, here 1"),
        ({"batch_size": 20}, "its batch size is 10, here 20"),
        ({"accumulate": 2}, "its batches a step are 1, here 2"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_training_is_refused_by_name(other, cause, files, saved):
    """And the training that asked for it is as it was."""
    saved()
    trainer = training(**other)
    before = trainer.snapshots.model.weight.clone()
    with pytest.raises(RunError, match=f"checkpoint.safetensors is of another training: {cause}"):
        load_last_checkpoint(*files, trainer, lambda sentence: None)
    assert torch.equal(before, trainer.snapshots.model.weight)
    assert trainer.position["step"] == 0


# ---------------------------------------------------------------------- a full disk
def test_a_full_disk_stops_no_training_and_is_said_once(files, saved, monkeypatch):
    """The checkpoint before stays whole; when there is space again, the next one is written."""
    trainer, said, full = training(), [], [False]
    sync = os.fsync

    def fsync(handle):
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    saver = Saver(*files, trainer, [], every=1e-9, note=said.append)

    def after_step():
        full[0] = 3 <= trainer.position["step"] <= 10
        saver()

    for epoch in trainer.run(after_step=after_step):
        if epoch.epoch == 0:
            assert not files[0].exists()
            assert position(files[1])["step"] == 2
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "The training goes on" in said[0]
    assert [18, 17] == [position(path)["step"] for path in files]
    plain = training()
    list(plain.run())
    assert torch.equal(plain.snapshots.model.weight, trainer.snapshots.model.weight)


# ---------------------------------------------------------------------- when
class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize("cost", [1 / 32, 5.0])  # whole in binary, as the steps of the clock
@pytest.mark.parametrize("every", [None, 7.0])
def test_saving_takes_a_hundredth_of_the_time_at_most(cost, every, files, monkeypatch):
    """By default once a minute, or as much longer as its cost asks for; else as often as told."""
    clock, times = Clock(), []
    monkeypatch.setattr(checkpoint, "time", clock)

    def save(path, state):
        times.append(clock.now)
        clock.now += cost

    monkeypatch.setattr(checkpoint, "save_tensors", save)
    begun = clock.now
    saver = Saver(*files, training(), [], every=every, note=lambda sentence: None)
    while len(times) < 4:
        clock.now += 0.25
        saver()
    pauses = [after - before - cost for before, after in pairwise(times)]
    wanted = every or max(LEAST_SECONDS, cost / SAVING_SHARE)
    assert all(wanted <= pause <= wanted + 0.5 for pause in pauses)
    first = every or LEAST_SECONDS
    assert first <= times[0] - begun <= first + 0.5


def test_nothing_is_saved_in_the_middle_of_a_step(files):
    """Some of the weights are new, and the history does not know of it."""
    trainer = training()
    saver = Saver(*files, trainer, [], note=lambda sentence: None)
    trainer.resting = False
    saver.save()
    assert not files[0].exists()
    trainer.rest()
    saver.save()
    assert position(files[0])["epoch"] == 0
