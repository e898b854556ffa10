"""One of two processes with a sampler each; run by sampling/test_sampler_in_two_processes.py.

python sampler_in_two_processes.py RANK MEETING_FILE RESULT
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

from small_selectors import CLASSES, Learner, answer
from thresher.data import Indexed
from thresher.distributed import gather_rows
from thresher.errors import ThresherError
from thresher.history import AUDIT, Column
from thresher.sampling import AdaptiveBatchSampler

SAMPLES, BATCH = 96, 6
REMEMBERED = (
    *AUDIT,
    Column("predictions", "class", width=3, fill=-1),
    Column("pushes", torch.int32),
)


class Remembering(Learner):
    """A learner that asks for the audit's columns and a ring."""

    def begin(self, samples, classes, epochs):
        return REMEMBERED


def loader(sampler):
    """Rows with labels that say nothing."""
    rows = TensorDataset(torch.zeros(SAMPLES), torch.arange(SAMPLES) % CLASSES)
    return DataLoader(Indexed(rows), batch_sampler=sampler)


def run(sampler, batches, epochs=1):
    """Rows of each step as this process sees them, observed."""
    seen = []
    for _ in range(epochs):
        for index, _, targets in batches:
            seen.append(index.tolist())
            logits = answer(index.numpy(), sampler.epoch).logits
            sampler.observe(index, logits=logits, targets=targets)
    return seen


def refused(sampler, batches):
    """The message of the error that a first epoch ends with."""
    try:
        run(sampler, batches)
    except ThresherError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main():
    """Join the other process, go through all set-ups, save what came of them."""
    rank, meeting, result = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    # what Accelerate looks for; the group is there already
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    from accelerate import Accelerator

    def sampler(selector=None, **settings):
        selector = Remembering(warmup=1) if selector is None else selector
        return AdaptiveBatchSampler(
            selector, SAMPLES, CLASSES, **{"batch_size": BATCH, "lag": 2, **settings}
        )

    found = {}
    alone = sampler()
    found["seen"] = run(alone, loader(alone), 3)
    found["history"] = alone.history.state_dict()
    found["state"] = alone.state_dict()

    prepare = Accelerator(cpu=True).prepare
    outside = sampler(shard="external")
    found["prepared"] = run(outside, prepare(loader(outside)), 3)

    twice = sampler()
    found["cut twice"] = refused(twice, prepare(loader(twice)))
    never = sampler(shard="external")
    found["never cut"] = refused(never, loader(never))
    early = sampler(rank=0, world_size=1)
    found["made too early"] = refused(early, loader(early))
    seeds = sampler(seed=rank)
    found["other seed"] = refused(seeds, loader(seeds))
    drifting = sampler(check_every=2)
    iter_once = iter(loader(drifting))
    index, _, targets = next(iter_once)
    drifting.observe(index, logits=torch.zeros(BATCH, CLASSES), targets=targets)
    drifting.engine.set_pressure(2.0 + rank)  # no batch shows it: this epoch is a shuffled one
    found["drift"] = refused(drifting, iter_once)

    large = torch.arange(2**24 + 1 + rank, 2**24 + 4 + rank)
    found["large"] = gather_rows(large)[0].tolist()
    torch.save(found, Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
