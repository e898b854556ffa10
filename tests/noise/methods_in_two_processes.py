"""One of two processes that train on halves of every batch; run by test_two_processes.py.

python methods_in_two_processes.py RANK MEETING_FILE RESULT
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from thresher.models import Networks
from thresher.noise import ESTIMATORS, Batch, Drawn, make_method
from thresher.noise.co_teaching import CoTeaching
from thresher.noise.co_teaching_plus import CoTeachingPlus
from thresher.noise.dividemix import DivideMix
from thresher.noise.morph import MORPH
from thresher.noise.pes import PES
from thresher.noise.prestopping import Prestopping
from thresher.noise.prestopping_plus import PrestoppingPlus
from thresher.noise.selfie import SELFIE
from thresher.training.snapshots import Snapshots

# so many samples that estimators of the noise rate move, and batches of uneven halves
SAMPLES, WIDTH, CLASSES, EPOCHS, BATCH, RATE = 120, 40, 3, 12, 41, 0.4

NAMES = (
    "active-bias", "auto", "backward", "co-teaching", "co-teaching-plus", "decoupling", "dividemix",
    "elr", "forward", "gce", "itlm", "jocor", "mixup", "morph", "oat", "odnl", "prestopping",
    "prestopping-plus", "rho-loss", "s-model", "selective-backprop", "selfie", "taufe",
    "volminnet",
)  # fmt: skip

#: Name of a case → how its method is made.
CASES = {
    **{name: (lambda name=name: make_method(name)) for name in NAMES},
    **{
        f"co-teaching by {each}": (lambda each=each: CoTeaching(ramp=2, estimate=each))
        for each in ESTIMATORS
    },
    "co-teaching, told": lambda: CoTeaching(RATE, ramp=2),
    "co-teaching-plus, told": lambda: CoTeachingPlus(RATE, ramp=2, warmup=2),
    "jocor, told": lambda: make_method("jocor", noise_rate=RATE),
    "itlm, told": lambda: make_method("itlm", noise_rate=RATE),
    "selfie, told": lambda: SELFIE(RATE),
    "selfie, all settings": lambda: SELFIE(
        RATE, threshold=0.9, window=2, soft=True, coverage=0.7, per_class=True, reuse=True
    ),
    "morph, told": lambda: MORPH(RATE),
    "morph, cap and misses": lambda: MORPH(RATE, cap=True, misses=2),
    **{
        f"prestopping, {stop}": (lambda stop=stop: Prestopping(RATE, stop=stop, patience=2))
        for stop in ("combined", "validation", "noise-rate", "memorised")
    },
    "prestopping-plus, told": lambda: PrestoppingPlus(RATE, patience=2, warmup=2),
    "pes": lambda: PES(window=1),
    "dividemix, penalty and window": lambda: DivideMix(ramp=1, window=2, asymmetric=True),
}


def train(case, shares):
    """Some epochs of plain gradient descent; each share cuts a part of every batch.

    The parts are taken one after the other and their sums added, as a loop that accumulates does.
    """
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    centres = 0.4 * torch.randn(CLASSES, WIDTH, generator=generator)
    x = centres[true] + torch.randn(SAMPLES, WIDTH, generator=generator)
    wrong = torch.rand(SAMPLES, generator=generator) < RATE
    y = torch.where(wrong, (true + 1) % CLASSES, true)
    foreign = 3 * torch.randn(SAMPLES, WIDTH, generator=generator)
    method = CASES[case]()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        members = [torch.nn.Linear(WIDTH, CLASSES) for _ in range(method.networks)]
    model = members[0] if method.networks == 1 else Networks(members)
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS, labels=y)
    taken = watch(criterion)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    snapshots = Snapshots(model, optimizer, criterion)
    restored = 0
    for epoch in range(EPOCHS):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(BATCH):
            sums = totals = 0
            for share in shares:
                index = share(batch)
                drawn = Drawn(index, foreign[index])  # a row of the stream beside every sample
                batch_here = Batch(index, x[index], y[index])
                parts = criterion.step(model, batch_here, lambda _, drawn=drawn: drawn)
                sums, totals = sums + parts.sums, totals + parts.totals
            optimizer.zero_grad()
            (sums / totals.clamp(min=1)).sum().backward()
            if dist.is_initialized():
                for parameter in model.parameters():
                    dist.all_reduce(parameter.grad)
            optimizer.step()
        change = criterion.end_epoch()
        restored += change is not None and change.restore is not None
        snapshots.apply(change)
    state = criterion.state_dict()
    return {
        "model": model.state_dict(),
        "history": state["history"],
        "method": state["method"],
        "taken": torch.stack(taken) if taken else torch.ones(0),
        "restored": restored,
    }


def watch(criterion):
    """The share of the trained samples that each step learned from, written while it trains."""
    taken, decide = [], criterion.method.decide

    def watched(step):
        decision = decide(step)
        weights = step.ones() if decision.weights is None else decision.weights
        trained = step.ones() if step.eligible is None else step.eligible.float()
        learned = ((weights > 0) * trained).sum(-1).max()  # of several networks the greater one
        taken.append(learned / trained.sum().clamp(min=1))
        return decision

    criterion.method.decide = watched
    return taken


def main():
    """Join the other process, train by every method, save."""
    rank, meeting, result = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mine = [lambda batch: batch[rank::2]]
    torch.save({case: train(case, mine) for case in CASES}, Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
