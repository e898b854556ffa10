"""One of several processes that train together; run by test_processes.py.

python trainings_in_processes.py RANK PROCESSES MEETING_FILE RESULT
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from thresher.distributed import gather_columns, sum_gradients
from thresher.errors import RunError
from thresher.models import BatchNorm1d, BatchNorm2d, Networks, Preparation
from thresher.noise import make_method
from thresher.noise.co_teaching import CoTeaching
from thresher.noise.co_teaching_plus import CoTeachingPlus
from thresher.noise.dividemix import DivideMix
from thresher.noise.morph import MORPH
from thresher.noise.pes import PES
from thresher.noise.prestopping import Prestopping
from thresher.noise.prestopping_plus import PrestoppingPlus
from thresher.noise.selfie import SELFIE
from thresher.training import drift
from thresher.training.augment import Augmentation
from thresher.training.drawn_batches import draw_batches
from thresher.training.loop import Rows, Settings, Training
from thresher.training.stream import Stream

SAMPLES, CLASSES, EPOCHS, BATCH = 50, 3, 6, 12  # the last batch of an epoch holds 2 rows

#: Name of a case → method, batches a step, precision, sampler; methods of a loss alone go as
#: standard.
CASES = {
    **{
        name: (lambda name=name: make_method(name), 1, "fp32", None)
        for name in ("auto", "elr", "mixup", "standard", "taufe", "oat", "odnl")
    },
    # fewer samples than an estimate of the noise rate takes: methods that go by one are told it
    "prestopping": (lambda: Prestopping(0.3, stop="validation"), 1, "fp32", None),
    "prestopping-plus": (lambda: PrestoppingPlus(0.3, stop="memorised"), 1, "fp32", None),
    "co-teaching-plus": (lambda: CoTeachingPlus(0.3, ramp=1, warmup=1), 1, "fp32", None),
    "taufe, four batches a step": (lambda: make_method("taufe"), 4, "fp32", None),
    "odnl, recency-bias": (lambda: make_method("odnl"), 1, "fp32", "recency-bias"),
    "jocor": (lambda: make_method("jocor", noise_rate=0.3), 1, "fp32", None),
    "selfie, restarted": (lambda: SELFIE(0.3, restarts=1, warmup=1, window=1), 1, "fp32", None),
    "morph, two views": (lambda: MORPH(0.3, consistency=1.0), 1, "fp32", None),
    "pes": (lambda: PES(window=1), 1, "fp32", None),
    "dividemix, two views": (lambda: DivideMix(views=2, ramp=1), 1, "fp32", None),
    "dividemix, recency-bias": (lambda: make_method("dividemix"), 1, "fp32", "recency-bias"),
    "co-teaching, four batches a step": (lambda: CoTeaching(0.3, ramp=2), 4, "fp32", None),
    "standard, bf16": (lambda: make_method("standard"), 1, "bf16", None),
    "elr, recency-bias": (lambda: make_method("elr"), 1, "fp32", "recency-bias"),
    "standard, info-batch": (lambda: make_method("standard"), 1, "fp32", "info-batch"),
    "co-teaching, ada-boundary": (lambda: CoTeaching(0.3, ramp=2), 1, "fp32", "ada-boundary"),
}


def network(members):
    """Small, with batch norm; several in one module."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = [
            nn.Sequential(
                nn.Conv2d(1, 8, 3, bias=False),
                BatchNorm2d(8),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(128, CLASSES),
            )
            for _ in range(members)
        ]
    return made[0] if members == 1 else Networks(made)


class Watched(Stream):
    """Keeps which of its rows this process has drawn, step by step."""

    def draw(self, *place, **options):
        found = super().draw(*place, **options)
        self.__dict__.setdefault("drawn", []).append(found.index)
        return found


def trained(case):
    """Train a case in as many processes as there are."""
    make, accumulate, precision, sampler = CASES[case]
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    pixels = torch.randint(0, 200, (SAMPLES, 6, 6, 1), generator=generator)
    pixels = (pixels + 25 * labels.view(-1, 1, 1, 1)).to(torch.uint8)  # something to learn
    method = make()
    model = network(method.networks)
    criterion = method.start(
        SAMPLES, CLASSES, epochs=EPOCHS, labels=labels, repeats=sampler is not None
    )
    further = torch.randint(0, 256, (31, 6, 6, 1), generator=generator).to(torch.uint8)
    everything = torch.arange(SAMPLES)
    batches = sampler and draw_batches(sampler, {}, criterion, everything, BATCH, EPOCHS, 0)
    rows = Rows(
        pixels,
        labels,
        everything,
        Preparation.fit(pixels.numpy()),
        Augmentation(("crop",), 0),
    )
    settings = Settings(
        epochs=EPOCHS,
        batch_size=BATCH,
        accumulate=accumulate,
        peak_rate=0.02,
        precision=precision,
    )
    stream = Watched(further, rows.prepare, Augmentation(("crop",), 1), settings.seed)
    streams = dict.fromkeys(method.streams(), stream)
    training = Training(model, criterion, rows, settings, batches=batches, streams=streams)
    losses = [epoch.loss for epoch in training.run()]
    return {
        "losses": torch.tensor(losses),
        "model": dict(model.state_dict()),
        "history": criterion.state_dict()["history"],
        "method": criterion.state_dict()["method"],
        "drawn": vars(stream).get("drawn", []),
    }


def normalised(layer, inputs, factors, part=slice(None)):
    """Outputs, gradients and running averages of a layer on a part of the rows."""
    mine = inputs[part].clone().requires_grad_()
    outputs = layer(mine)
    (outputs * factors[part]).sum().backward()
    sum_gradients(list(layer.parameters()), torch.zeros(1))
    return {
        "outputs": outputs.detach(),
        "inputs": mine.grad,
        **{name: each.grad for name, each in layer.named_parameters()},
        **dict(layer.named_buffers()),
    }


#: Where 9 rows are cut for three processes.
CUTS = [(3, 6), (1, 3), (0, 9), (9, 9)]
LAYERS = {
    "images": (lambda: BatchNorm2d(4), (9, 4, 5, 3)),
    "features": (lambda: BatchNorm1d(4), (9, 4)),
    "plain": (
        lambda: BatchNorm2d(4, affine=False, track_running_stats=False),
        (9, 4, 2, 2),
    ),
    "averaged": (lambda: BatchNorm1d(4, momentum=None), (9, 4, 3)),
}


def layer_and_data(name):
    """A layer with uneven weights, rows far from 0, and what their outputs are multiplied by."""
    make, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(1)
    layer = make()
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn(each.shape, generator=generator))
    inputs = 50 + 3 * torch.randn(shape, generator=generator)
    return layer, inputs, torch.randn(shape, generator=generator)


def gathered(rank):
    """Columns of several types, of 2, 3 and 0 rows."""
    count = (2, 3, 0)[rank]
    numbers = 2**60 + 10 * rank + torch.arange(count)  # no float holds them
    marks = torch.arange(count) % 2 == 0
    scores = torch.arange(count * 6).view(count, 2, 3).movedim(1, 2) + rank / 4
    return numbers, marks, scores.float()


def summed(rank):
    """A gradient on all processes, on one, on none; a frozen parameter."""
    parameters = [nn.Parameter(torch.zeros(2, 3)) for _ in range(4)]
    parameters[0].grad = torch.full((2, 3), 1.0 + rank)
    if rank == 1:
        parameters[1].grad = torch.arange(6.0).view(3, 2).T
    parameters[3].requires_grad_(False)
    sum_gradients(parameters, torch.zeros(1))
    return [each.grad for each in parameters]


def drifting(rank):
    """What the guard says when one process holds another weight, and when none does."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        for each in model.parameters():
            each.fill_(0.5)
        drift.refuse_drift(7, model, None, model.bias)
        model.bias[1] += 1e-7 * (rank == 2)
    try:
        drift.refuse_drift(8, model, None, model.bias)
    except RunError as error:
        return str(error)
    return None


def unequal(rank):
    """A criterion of a user's own loop, whose batches differ in size from step to step."""
    criterion = make_method("co-teaching").start(8, CLASSES, epochs=2)
    outputs = torch.zeros(2, 8, CLASSES)
    for cuts in ((2, 5, 8), (8, 8, 8)):
        stop = cuts[rank]
        start = (0, *cuts)[rank]
        index = torch.arange(start, stop)
        step, _ = criterion.gather(index, outputs[:, index], index % CLASSES)
    return step.index, step.labels, step.scores.shape, step.here


def main():
    """Join the others, do all of it, save."""
    rank, processes, meeting, result = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=60),  # a slip that leaves a process out ends soon
    )
    found = {
        "gathered": [gather_columns(gathered(rank)), gather_columns(gathered(rank), [2, 3, 0])],
        "summed": summed(rank),
        "drift": drifting(rank),
        "unequal": unequal(rank),
        "trained": {case: trained(case) for case in CASES},
    }
    for name in LAYERS:
        for first, second in CUTS:
            part = [slice(0, first), slice(first, second), slice(second, 9)][rank]
            found[name, first, second] = normalised(*layer_and_data(name), part)
    torch.save(found, Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
