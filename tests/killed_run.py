"""A run that is killed, in a process of its own: what test_survival starts.

The processes are forked from one that has imported everything and computed nothing, so that a kill
costs a fork and not an import.
"""

import multiprocessing
import os
import signal
from pathlib import Path

import torch
from torch import nn

import thresher.auditing
import thresher.noise.criterion
import thresher.training.checkpoint
import thresher.training.loop
from thresher.fitting import fit, resume

#: Where a run may be killed: what is about to be called, or to write the second piece of a file.
MOMENTS = {
    "step": (thresher.training.loop.Training, "_step"),
    "optimizer": (torch.optim.SGD, "step"),
    "between steps": (thresher.training.checkpoint.Saver, "__call__"),
    "end of an epoch": (thresher.noise.criterion.Criterion, "end_epoch"),
    "writing": (thresher.training.checkpoint, "_contents"),
    "renamed": (thresher.training.checkpoint, "save_checkpoint"),
    "report": (thresher.auditing, "write_report"),
}


def network(*, shape, classes):
    """Batch normalisation and dropout, over images or features."""
    inputs = int(torch.tensor(shape).prod())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(24, classes),
    )  # fmt: skip


def go_on(run, data, options, moment=None, call=1):
    """Start or resume a run; die when something is called for so many times.

    Args:
        run: Its folder.
        data: Path of the data.
        options: Of `thresher.fit`.
        moment: A key of MOMENTS, or None to live.
        call: At which call of it to die.
    """
    torch.set_num_threads(1)  # weights agree bit for bit on equal numbers of threads only
    if moment is not None:
        die_at(*MOMENTS[moment], call)
    if (Path(run) / "run.toml").exists():
        resume(run)
    else:
        fit(data, out=run, **options)


def die_at(owner, name, call):
    """Let a function kill the process when it is called so many times."""
    called, function = [], getattr(owner, name)

    def deadly(*arguments, **named):
        called.append(name)
        last = len(called) == call
        if last and name != "_contents":
            os.kill(os.getpid(), signal.SIGKILL)
        given = function(*arguments, **named)
        return half(given) if last else given

    setattr(owner, name, deadly)


def half(pieces):
    """The first piece, and no more: the file on the disk ends in its middle."""
    yield next(pieces)
    os.kill(os.getpid(), signal.SIGKILL)


def process(*arguments):
    """A process that calls `go_on`; to be started, waited for, and killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["thresher.fitting"])  # this module is not on its path yet
    return context.Process(target=go_on, args=arguments)
