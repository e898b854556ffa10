"""One of two processes that train on halves of every batch; run by test_two_processes.py.

python methods_in_two_processes.py RANK MEETING_FILE RESULT METHOD …
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from thresher.models import Networks
from thresher.noise import Batch, Drawn, make_method
from thresher.training.snapshots import Snapshots

SAMPLES, WIDTH, CLASSES, EPOCHS = 48, 5, 3, 8


def train(name, shares):
    """Some epochs of plain gradient descent; each share cuts a part of every batch.

    The parts are taken one after the other and their sums added, as a loop that accumulates does.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, WIDTH, generator=generator)
    y = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    foreign = 3 * torch.randn(SAMPLES, WIDTH, generator=generator)
    method = make_method(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        members = [torch.nn.Linear(WIDTH, CLASSES) for _ in range(method.networks)]
    model = members[0] if method.networks == 1 else Networks(members)
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    snapshots = Snapshots(model, optimizer, criterion)
    for epoch in range(EPOCHS):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(13):
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
        snapshots.apply(criterion.end_epoch())
    return {"model": model.state_dict(), "history": criterion.state_dict()["history"]}


def main():
    """Join the other process, train by every method, save."""
    rank, meeting, result, *names = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mine = [lambda batch: batch[rank::2]]
    torch.save({name: train(name, mine) for name in names}, Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
