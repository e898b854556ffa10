"""The Trainer of transformers with a criterion: the plain loop's history, and its weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import SequentialSampler

from plain_loop import EveryThird, assert_same, train_plainly
from thresher.data import Indexed
from thresher.errors import ParameterError, RecordError
from thresher.noise import ELR, SELFIE, Change, Method, Standard

transformers = pytest.importorskip("transformers", reason="the extra huggingface is not installed")
RobustTrainer = pytest.importorskip("thresher.training.hugging_face").RobustTrainer

N, K = 44, 3


def pixels():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(N, 1, 8, 8, generator=generator), torch.randint(K, (N,), generator=generator)


def rows():
    x, y = pixels()
    return Indexed([{"pixel_values": x[i], "labels": int(y[i])} for i in range(N)])


def vision(seed=0):
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=K,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.ViTForImageClassification(config)


class Plain(nn.Module):
    """A network that is none of the library's."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2))
            self.head = nn.Linear(16, K)

    def forward(self, pixel_values):
        return {"logits": self.head(self.layers(pixel_values))}


class InOrder(RobustTrainer):
    """Rows come as they lie, so that a plain loop can have the same batches."""

    def _get_train_sampler(self, *args):
        return SequentialSampler(self.train_dataset)


def trainer(tmp_path, method, *, epochs=3, model=None, kind=InOrder, **settings):
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=epochs,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        **{"per_device_train_batch_size": 8, "save_strategy": "no", **settings},
    )
    model = model or vision()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return kind(
        model,
        arguments,
        train_dataset=rows(),
        eval_dataset=rows(),
        optimizers=(optimizer, schedule),
        criterion=method.start(N, K, epochs=epochs),
    )


def plain_loop(method, *, epochs=3, batch=8, accumulate=1):
    """The same, written out."""
    return train_plainly(
        vision().train(), *pixels(), method, classes=K, epochs=epochs, batch=batch,
        accumulate=accumulate,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "accumulate"), [(Standard(), 1), (SELFIE(0.3), 1), (ELR(), 4), (EveryThird(), 4)]
)
def test_weights_and_history_are_those_of_the_plain_loop(method, accumulate, tmp_path):
    """An uneven last batch, clipping, and six batches in steps of four included."""
    by_trainer = trainer(tmp_path, method, gradient_accumulation_steps=accumulate)
    by_trainer.train()
    assert by_trainer.attached.criterion.epoch == 3
    assert by_trainer.attached.criterion.history["visits"].tolist() == [3] * N
    assert_same(
        (by_trainer.model, by_trainer.attached.criterion), plain_loop(method, accumulate=accumulate)
    )


def test_a_vision_model_in_the_plain_loop_gives_the_weights_of_cross_entropy_bit_for_bit():
    """Its answer is an object with logits."""
    model, _ = plain_loop(Standard(), epochs=1)
    x, y = pixels()
    plain = vision().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.3, momentum=0.9)
    for index in torch.arange(N).split(8):
        F.cross_entropy(plain(x[index]).logits, y[index]).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    for name, values in plain.state_dict().items():
        assert torch.equal(values, model.state_dict()[name]), name


def test_a_rollback_is_carried_out_before_the_next_epoch(tmp_path):
    """Save after the first epoch, go back after the third."""

    class Rollback(Method):
        name = "rollback"

        def end_epoch(self, measured):
            return {0: Change(save="early"), 2: Change(restore="early")}.get(self.history.epoch)

    by_trainer = trainer(tmp_path, Rollback())
    by_trainer.train()
    assert_same((by_trainer.model, by_trainer.attached.criterion), plain_loop(Rollback()))


@pytest.mark.parametrize("step", [6, 8])
def test_a_run_resumed_from_a_checkpoint_equals_the_whole(step, tmp_path):
    """Weights and history, bit for bit, from the last step of an epoch and from amid one.

    With a plain network: transformers 5.24 stores ViT under other names than it reads on resuming.
    """
    settings = {"save_strategy": "steps", "save_steps": step}
    whole = trainer(tmp_path / "whole", SELFIE(0.3), model=Plain(seed=0), **settings)
    whole.train()
    resumed = trainer(tmp_path / "resumed", SELFIE(0.3), model=Plain(seed=9), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
    assert_same(
        (whole.model, whole.attached.criterion),
        (resumed.model, resumed.attached.criterion),
        exactly=True,
    )


def test_evaluation_and_prediction_leave_no_trace(tmp_path):
    """Between the epochs, on rows with an index; the loss is the model's own."""
    by_trainer = trainer(tmp_path, Standard(), eval_strategy="epoch")
    by_trainer.train()
    x, y = pixels()
    unlabelled = Indexed([{"pixel_values": each} for each in x])
    logits = by_trainer.predict(unlabelled).predictions
    expected = F.cross_entropy(torch.from_numpy(logits), y)
    assert by_trainer.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-4)
    assert by_trainer.attached.criterion.history["visits"].tolist() == [3] * N


def test_a_column_of_numbers_in_a_hugging_face_data_set_is_kept(tmp_path):
    """The Trainer drops what the model does not name, and shuffles."""
    datasets = pytest.importorskip("datasets")
    x, y = pixels()
    columns = {"pixel_values": x.tolist(), "label": y.tolist(), "index": list(range(N))}
    by_trainer = trainer(tmp_path, Standard(), kind=RobustTrainer, epochs=1)
    by_trainer.train_dataset = datasets.Dataset.from_dict({**columns, "source": ["a"] * N})
    by_trainer.train()
    assert by_trainer.attached.criterion.history["visits"].tolist() == [1] * N
    assert by_trainer.attached.criterion.history["given"].tolist() == y.tolist()


def test_rows_without_a_number_are_refused_with_the_repair(tmp_path):
    """As in a loop without the Trainer."""
    by_trainer = trainer(tmp_path, Standard())
    by_trainer.train_dataset = by_trainer.train_dataset.dataset
    with pytest.raises(RecordError, match=r"thresher\.data\.Indexed"):
        by_trainer.train()


def test_a_method_with_restarts_is_refused(tmp_path):
    """The learning rate would not start anew."""
    with pytest.raises(ParameterError, match="begins anew"):
        trainer(tmp_path, SELFIE(0.3, restarts=1))
