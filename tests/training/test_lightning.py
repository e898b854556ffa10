"""The Trainer of Lightning with a criterion: the plain loop's history, and its weights."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from plain_loop import EveryThird, assert_same, train_plainly
from thresher.data import Indexed
from thresher.errors import ParameterError
from thresher.noise import ELR, SELFIE, Change, Method, Standard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that Lightning imports
    pl = pytest.importorskip("lightning.pytorch", reason="the extra lightning is not installed")
    RobustCallback = pytest.importorskip("thresher.training.lightning").RobustCallback

N, D, K = 44, 5, 3

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator), torch.randint(K, (N,), generator=generator)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, K))


class Module(pl.LightningModule):
    """What a user writes."""

    def __init__(self, robust, seed=0):
        super().__init__()
        self.network, self.robust = network(seed), robust

    def training_step(self, batch, batch_idx):
        index, x, y = batch
        return self.robust.loss(index, self.network(x), y)

    def validation_step(self, batch, batch_idx):
        _, x, y = batch
        self.log("accuracy", (self.network(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


def train(tmp_path, method, *, epochs=3, seed=0, checkpoint=None, resume=None, accumulate=1):
    """Epochs of the Trainer with clipping and a validation set."""
    robust = RobustCallback(method.start(N, K, epochs=epochs))
    module = Module(robust, seed)
    loader = DataLoader(Indexed(TensorDataset(*data())), batch_size=8)
    callbacks = [robust, *([checkpoint] if checkpoint else [])]
    pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=callbacks,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=checkpoint is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader, loader, ckpt_path=resume)
    return module.network, robust.attached.criterion


def plain_loop(method, *, epochs=3, accumulate=1):
    """The same, written out."""
    return train_plainly(
        network(), *data(), method, classes=K, epochs=epochs, accumulate=accumulate
    )


class Rollback(Method):
    """Saves after the first epoch, goes back after the third."""

    name = "rollback"

    def end_epoch(self, measured):
        return {0: Change(save="early"), 2: Change(restore="early")}.get(self.history.epoch)


@pytest.mark.parametrize(
    ("method", "accumulate"),
    [(Standard(), 1), (SELFIE(0.3), 1), (Rollback(), 1), (ELR(), 4), (EveryThird(), 4)],
)
def test_weights_and_history_are_those_of_the_plain_loop(method, accumulate, tmp_path):
    """An uneven last batch, clipping, validation, and six batches in steps of four included."""
    by_trainer = train(tmp_path, method, accumulate=accumulate)
    assert by_trainer[1].epoch == 3
    assert by_trainer[1].history["visits"].tolist() == [3] * N
    assert_same(by_trainer, plain_loop(method, accumulate=accumulate))


def test_a_run_resumed_from_a_checkpoint_equals_the_whole(tmp_path):
    """The history travels in Lightning's own checkpoint, and what a method goes back to."""
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    whole = train(tmp_path, Rollback(), checkpoint=checkpoint)
    resumed = train(tmp_path, Rollback(), seed=9, resume=tmp_path / "epoch=1.ckpt")
    assert_same(whole, resumed, exactly=True)


def test_a_method_with_restarts_is_refused():
    """The learning rate would not start anew."""
    with pytest.raises(ParameterError, match="begins anew"):
        RobustCallback(SELFIE(0.3, restarts=1).start(N, K, epochs=4))
