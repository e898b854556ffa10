"""The criterion in a user's own loop: the same bits, any loader, and errors that say what to do."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from own_loop_process import CASES, CLASSES, EPOCHS, SAMPLES, as_one_process, data, network
from started_together import started_together
from thresher.data import Indexed
from thresher.errors import (
    LabelError,
    MissingPackageError,
    ModelError,
    ParameterError,
    RecordError,
)
from thresher.history import SampleHistory
from thresher.noise import ELR, SELFIE, Decision, Method, Standard, make_method
from thresher.training.accumulation import Accumulation
from thresher.training.loop import Rows, Settings, Training

SCRIPT = Path(__file__).parent.parent / "own_loop_process.py"


@pytest.fixture
def accelerate():
    """Accelerate as in a fresh process: it keeps its settings in global state."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield Accelerator
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def rows(**settings):
    """A loader as a user has it: shuffled, with an uneven last batch."""
    generator = torch.Generator().manual_seed(3)
    settings = {"batch_size": 8, "shuffle": True, "generator": generator, **settings}
    return DataLoader(Indexed(TensorDataset(*data())), **settings)


def cross_entropy_loop(loader, epochs=3):
    """The loop before its four lines are changed."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(epochs):
        for _, x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def criterion_loop(method, loader, epochs=3, *, model=None, forward=None):
    """The loop after they are changed."""
    model = network() if model is None else model
    forward = model if forward is None else forward
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    criterion = method.start(SAMPLES, CLASSES, epochs=epochs)
    for _ in range(epochs):
        for index, x, y in loader:
            optimizer.zero_grad()
            criterion(index, forward(x), y).backward()
            optimizer.step()
        criterion.end_epoch()
    return model, criterion


def assert_equal(first, second):
    for name, values in first.state_dict().items():
        assert torch.equal(values, second.state_dict()[name]), name


class EveryThird(Method):
    """Drops two thirds of the samples, so that batches have different totals."""

    name = "every-third"

    def decide(self, step):
        return Decision((step.index % 3 == 0).float())


# ---------------------------------------------------------------- the same bits
@pytest.mark.parametrize("settings", [{}, {"drop_last": True}, {"batch_size": 9}])
def test_standard_gives_the_weights_of_cross_entropy_bit_for_bit(settings):
    """Dropped, uneven and even last batches."""
    model, _ = criterion_loop(Standard(), rows(**settings))
    assert_equal(cross_entropy_loop(rows(**settings)), model)


def test_standard_under_accelerate_gives_the_weights_of_cross_entropy_bit_for_bit(accelerate):
    """Model, optimiser and loader prepared, loss sent through its `backward`."""
    accelerator = accelerate(cpu=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    model, optimizer, loader = accelerator.prepare(model, optimizer, rows())
    criterion = Standard().start(SAMPLES, CLASSES)
    order = []
    for _ in range(3):
        for index, x, y in loader:
            order.append(index)
            accelerator.backward(criterion(index, model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        criterion.end_epoch()
    x, y = data()
    plain = cross_entropy_loop([(index, x[index], y[index]) for index in order], epochs=1)
    assert_equal(plain, accelerator.unwrap_model(model))
    assert criterion.history["visits"].tolist() == [3] * SAMPLES


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_as_the_plain_one(backend):
    """The criterion stays outside of what is compiled; weights to rounding."""
    model = network()
    forward = torch.compile(model, backend=backend)
    _, criterion = criterion_loop(SELFIE(0.3), rows(), model=model, forward=forward)
    plain, expected = criterion_loop(SELFIE(0.3), rows())
    for name, values in plain.state_dict().items():
        torch.testing.assert_close(values, model.state_dict()[name])
    assert torch.equal(expected.history["visits"], criterion.history["visits"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, within its compiler
def test_a_model_compiled_to_machine_code_trains_as_the_plain_one():
    """By the default compiler, which needs one for C++."""
    model = network()
    criterion_loop(Standard(), rows(), model=model, forward=torch.compile(model))
    plain, _ = criterion_loop(Standard(), rows())
    for name, values in plain.state_dict().items():
        torch.testing.assert_close(values, model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_two_criteria_in_one_process_know_nothing_of_each_other():
    """Steps taken in turn give what each gives alone."""
    models = [network(), network(seed=1)]
    alone = [
        criterion_loop(method, rows(), 1, model=network(seed))
        for seed, method in enumerate((SELFIE(0.3), ELR()))
    ]
    criteria = [each.start(SAMPLES, CLASSES, epochs=1) for each in (SELFIE(0.3), ELR())]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.3, momentum=0.9) for each in models]
    for index, x, y in rows():
        for model, optimizer, criterion in zip(models, optimizers, criteria, strict=True):
            optimizer.zero_grad()
            criterion(index, model(x), y).backward()
            optimizer.step()
    for model, criterion, (expected, of_its_own) in zip(models, criteria, alone, strict=True):
        assert_equal(expected, model)
        for name, values in of_its_own.history.state_dict().items():
            assert torch.equal(values, criterion.history[name]), name


# ---------------------------------------------------------------- accumulation and precision
def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_step_over_several_batches_has_the_gradient_of_the_chosen_samples():
    """Not the mean of the batches' means: the batches keep 3, 1 and 2 samples."""
    x, y = data()
    model = nn.Linear(x.shape[1], CLASSES)
    criterion = EveryThird().start(SAMPLES, CLASSES)
    accumulation = Accumulation(model, criterion)
    for index in ([0, 3, 6, 7], [1, 2, 9, 4], [12, 15]):
        batch = torch.tensor(index)
        accumulation.loss(criterion.parts(batch, model(x[batch]), y[batch])).backward()
    accumulation.scale()
    found = gradients(model)
    chosen = torch.tensor([0, 3, 6, 9, 12, 15])
    model.zero_grad()
    F.cross_entropy(model(x[chosen]), y[chosen]).backward()
    for expected, each in zip(gradients(model), found, strict=True):
        torch.testing.assert_close(expected, each)


def test_a_step_that_learns_from_nothing_leaves_no_gradient():
    """So that momentum and weight decay do not move the network either."""
    x, y = data()
    model = nn.Linear(x.shape[1], CLASSES)
    criterion = EveryThird().start(SAMPLES, CLASSES)
    accumulation = Accumulation(model, criterion)
    for index in ([1, 2], [4, 5]):
        batch = torch.tensor(index)
        accumulation.loss(criterion.parts(batch, model(x[batch]), y[batch])).backward()
    accumulation.scale()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_networks_that_cannot_be_told_apart_are_refused_before_the_first_step():
    """Each network's gradients are scaled by its own total."""
    criterion = make_method("co-teaching").start(SAMPLES, CLASSES)
    with pytest.raises(ModelError, match="trains 2 networks, and Linear does not hold 2") as found:
        Accumulation(nn.Linear(2, 2), criterion)
    assert "thresher.models.Networks" in found.value.fix


@pytest.mark.parametrize("method", [Standard(), EveryThird()])
def test_accumulation_by_accelerate_equals_large_batches(method, accelerate):
    """Four batches a step; the last step of the epoch has two."""
    x, y = data()
    accelerator = accelerate(cpu=True, gradient_accumulation_steps=4)
    small, large = (nn.Linear(x.shape[1], CLASSES) for _ in range(2))
    large.load_state_dict(small.state_dict())

    model, optimizer, loader = accelerator.prepare(
        small, torch.optim.SGD(small.parameters(), lr=0.3), rows(shuffle=False, batch_size=5)
    )
    criterion = method.start(SAMPLES, CLASSES)
    accumulation = Accumulation(small, criterion)
    for index, inputs, labels in loader:
        with accelerator.accumulate(model):
            parts = criterion.parts(index, model(inputs), labels)
            loss = accumulation.loss(parts) * accelerator.gradient_accumulation_steps
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accumulation.scale()
            optimizer.step()
            optimizer.zero_grad()

    optimizer = torch.optim.SGD(large.parameters(), lr=0.3)
    criterion = method.start(SAMPLES, CLASSES)
    for index in torch.arange(SAMPLES).split(20):
        optimizer.zero_grad()
        criterion(index, large(x[index]), y[index]).backward()
        optimizer.step()
    for expected, found in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(expected, found)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["standard", "elr", "selfie"])
def test_losses_and_history_are_float32_under_bf16_autocast(name, inside):
    """With the criterion inside or outside of the context; near those of float32."""
    x, y = data()
    index = torch.arange(SAMPLES)
    model = network()
    found = {}
    for enabled in (True, False):
        criterion = make_method(name).start(SAMPLES, CLASSES, epochs=3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = model(x)
            assert outputs.dtype == (torch.bfloat16 if enabled else torch.float32)
            loss = criterion(index, outputs, y) if inside else None
        loss = criterion(index, outputs, y) if loss is None else loss
        loss.backward()
        assert loss.dtype == torch.float32
        found[enabled] = loss.item(), criterion.history.mean_loss()
    assert criterion.history.mean_loss().dtype == torch.float32
    assert torch.isfinite(found[True][1]).all()
    assert found[False][0] == pytest.approx(found[True][0], abs=0.05)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=0, atol=0.1)


def test_bf16_by_accelerate_keeps_a_finite_history(accelerate):
    """Its wrapper turns the outputs into float32 itself."""
    accelerator = accelerate(cpu=True, mixed_precision="bf16")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, rows())
    criterion = ELR().start(SAMPLES, CLASSES, epochs=2)
    for _ in range(2):
        for index, x, y in loader:
            accelerator.backward(criterion(index, model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        criterion.end_epoch()
    for name, values in criterion.history.state_dict().items():
        assert torch.isfinite(values).all(), name
    assert criterion.history["visits"].tolist() == [2] * SAMPLES


# ---------------------------------------------------------------- several processes
@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What both processes hold in the end, of every case."""
    return started_together(SCRIPT, 2, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize(("name", "padding"), CASES)
def test_two_processes_count_each_sample_once_in_spite_of_padding(name, padding, two_processes):
    """DistributedDataParallel keeps the history and the weights of one process."""
    first, second = (each[name, padding] for each in two_processes)
    alone = as_one_process(name, padding)
    assert alone["history"]["visits"].tolist() == [EPOCHS] * SAMPLES
    for key, values in alone["history"].items():
        assert torch.equal(first["history"][key], second["history"][key]), key
        torch.testing.assert_close(first["history"][key], values, rtol=1e-4, atol=1e-5, msg=key)
    for key, values in alone["model"].items():
        torch.testing.assert_close(first["model"][key], values, rtol=1e-4, atol=1e-5, msg=key)


# ---------------------------------------------------------------- slips
def start(**settings):
    return Standard().start(SAMPLES, CLASSES, **settings)


def batch(index):
    """Outputs and labels of these rows."""
    x, y = data()
    return network()(x[: len(index)]), y[: len(index)]


@pytest.mark.parametrize(
    ("index", "received"),
    [
        (None, "got None"),
        (torch.zeros(4, 20), r"got \(4, 20\) torch.float32"),
        ((torch.arange(4), torch.arange(4)), "got a tuple"),
        (3, "got a int"),
        ([0, 1, 2, 3], "got a list"),
        (torch.arange(4).int(), r"got \(4,\) torch.int32"),
        (torch.tensor(3), r"got \(\) torch.int64"),
    ],
)
def test_a_missing_index_is_refused_with_the_repair(index, received):
    """Whatever came in its place."""
    outputs, labels = batch(range(4))
    with pytest.raises(RecordError, match=received) as caught:
        start()(index, outputs, labels)
    assert "DataLoader(thresher.data.Indexed(data)) yields (index, x, y)" in caught.value.fix


def test_the_arguments_of_cross_entropy_are_no_batch():
    """The slip of whoever changes one line of the four."""
    with pytest.raises(RecordError, match=r"the outputs and the labels only.*Indexed"):
        start()(*batch(range(4)))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, SAMPLES], f"Sample index {SAMPLES} is outside 0 … {SAMPLES - 1}"),
        ([0, -1, 2], "Sample index -1 is outside"),
        ([4, 5, 4], r"Sample 4 comes twice in one batch.*repeats=True"),
    ],
)
def test_an_index_that_is_no_row_of_its_own_is_refused(index, message):
    """Out of range, or repeated."""
    with pytest.raises(RecordError, match=message):
        start()(torch.tensor(index), *batch(index))


def test_an_index_of_another_length_is_refused():
    """With both lengths."""
    with pytest.raises(RecordError, match="4 labels came with the index of 3 rows"):
        start()(torch.arange(3), *batch(range(4)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, CLASSES, 0]), f"Sample 12 has the label {CLASSES}, outside 0 … 2"),
        (torch.tensor([0, -100, 1, 0]), "Sample 11 has the label -100"),
        (torch.eye(4)[:, :3], r"got \(4, 3\) torch.float32. Pass labels.long\(\)"),
        (torch.zeros(4, dtype=torch.int32), r"got \(4,\) torch.int32"),
    ],
)
def test_a_label_that_is_no_class_is_refused_with_its_sample(labels, message):
    """By the number of the sample, not by its place in the batch."""
    with pytest.raises(LabelError, match=message):
        start()(torch.arange(10, 14), batch(range(4))[0], labels)


@pytest.mark.parametrize("shape", [(3, CLASSES), (8, CLASSES), (4, 2), (4,), (1, 4, 4, CLASSES)])
def test_outputs_of_another_shape_are_refused(shape):
    """Of fewer rows, more, another width, and without rows or classes."""
    with pytest.raises(ParameterError, match=rf"standard expects outputs \(4, {CLASSES}\), got"):
        start()(torch.arange(4), torch.zeros(shape), batch(range(4))[1])


def test_labels_of_another_length_are_refused_at_the_start():
    """With both lengths."""
    with pytest.raises(ParameterError, match=rf"labels must be \({SAMPLES},\) int64, got \(4,\)"):
        start(labels=torch.zeros(4, dtype=torch.int64))


def test_places_in_the_batch_are_noticed_at_the_end_of_the_epoch():
    """Every batch says 0, 1, 2, …, the last and smaller one too."""
    criterion = start()
    for index, x, y in rows():
        criterion(torch.arange(len(index)), network()(x), y)
    with pytest.raises(RecordError, match=r"places in the batch, not rows.*Indexed"):
        criterion.end_epoch()


@pytest.mark.parametrize("settings", [{"batch_size": SAMPLES}, {"shuffle": False}])
def test_one_batch_of_all_rows_and_rows_in_order_are_no_such_slip(settings):
    """Their numbers begin at 0 as well."""
    _, criterion = criterion_loop(Standard(), rows(**settings))
    assert criterion.history["visits"].tolist() == [3] * SAMPLES


def test_a_loop_that_never_ends_its_epochs_is_stopped():
    """In the second pass: no method could move on."""
    criterion, loader = start(), rows()
    for index, x, y in loader:
        criterion(index, network()(x), y)
    index, x, y = next(iter(loader))
    with pytest.raises(RecordError, match=r"Call criterion.end_epoch\(\) after each pass"):
        criterion(index, network()(x), y)


def test_a_sampler_that_draws_with_replacement_is_welcome_when_announced():
    """Every draw counts."""
    dataset = Indexed(TensorDataset(*data()))
    sampler = RandomSampler(
        dataset, replacement=True, num_samples=90, generator=torch.Generator().manual_seed(0)
    )
    criterion = start(repeats=True)
    drawn = torch.zeros(SAMPLES, dtype=torch.int64)
    for index, x, y in DataLoader(dataset, batch_size=16, sampler=sampler):
        criterion(index, network()(x), y).backward()
        drawn += torch.bincount(index, minlength=SAMPLES)
    criterion.end_epoch()
    assert int(drawn.max()) > 1
    assert criterion.history["visits"].tolist() == drawn.tolist()


def test_an_evaluation_may_repeat_rows_and_belongs_to_no_epoch():
    """Between, before and after the passes."""
    criterion, (x, y) = start(), data()
    with torch.no_grad():
        for _ in range(3):
            criterion(torch.zeros(4, dtype=torch.int64), network()(x[:4]), y[:4])
    assert criterion.end_epoch() is None


def test_a_step_that_failed_does_not_count():
    """The batch may come again once the slip is put right."""
    criterion, (x, y) = start(), data()
    index = torch.arange(SAMPLES)
    with pytest.raises(ParameterError):
        criterion(index, torch.zeros(3, CLASSES), y)
    criterion(index, network()(x), y)
    assert criterion.history["visits"].tolist() == [1] * SAMPLES


def test_the_loop_of_thresher_checks_labels_once_and_no_batch(monkeypatch):
    """Its row numbers are right by construction."""
    x, y = data()
    criterion = Standard().start(SAMPLES, CLASSES, labels=y)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(SampleHistory, "check_labels", never)
    monkeypatch.setattr(criterion.numbers, "check", never)
    loop_rows = Rows(x, y, torch.arange(SAMPLES), prepare=lambda each: each)
    list(Training(network(), criterion, loop_rows, Settings(epochs=2, batch_size=8)).run())
    assert criterion.history["visits"].tolist() == [2] * SAMPLES


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("hugging_face", "transformers", "huggingface"), ("lightning", "lightning", "lightning")],
)
def test_an_adapter_without_its_package_names_the_line_that_installs_it(
    module, package, extra, monkeypatch
):
    """And can be caught as any missing import."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.pytorch", None)
    monkeypatch.delitem(sys.modules, f"thresher.training.{module}", raising=False)
    with pytest.raises(MissingPackageError) as caught:
        importlib.import_module(f"thresher.training.{module}")
    assert caught.value.fix == f'Install it: pip install "thresher[{extra}]".'
    assert isinstance(caught.value, ImportError)
