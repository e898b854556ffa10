"""One of two processes that train on halves of every batch; run by test_distributed.py.

python two_processes.py RANK MEETING_FILE METHOD RESULT
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from thresher.distributed import gather_rows
from thresher.models import Networks
from thresher.noise import make_method

SAMPLES, WIDTH, CLASSES, EPOCHS = 48, 5, 3, 8


def train(name, share):
    """Some epochs of plain gradient descent; `share` cuts this process's rows from a batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, WIDTH, generator=generator)
    y = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    method = make_method(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        members = [torch.nn.Linear(WIDTH, CLASSES) for _ in range(method.networks)]
    model = members[0] if method.networks == 1 else Networks(members)
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS)
    saved = {}
    for epoch in range(EPOCHS):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(13):
            index = share(batch)
            parts = criterion.parts(index, model(x[index]), y[index])
            model.zero_grad()
            (parts.sums / parts.totals.clamp(min=1)).sum().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    if dist.is_initialized():
                        dist.all_reduce(parameter.grad)
                    parameter -= 0.5 * parameter.grad
        change = criterion.end_epoch()
        if change is not None:
            if change.save:
                saved[change.save] = {k: v.clone() for k, v in model.state_dict().items()}
            if change.restore:
                model.load_state_dict(saved[change.restore])
            criterion.applied(change)
    return {"model": model.state_dict(), "history": criterion.state_dict()["history"]}


def main():
    """Join the other process, check the gather, train, save."""
    rank, meeting, name, result = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mine = torch.arange(3 + rank) + 10 * rank
    joined, here = gather_rows(mine)
    assert joined.tolist() == [0, 1, 2, 10, 11, 12, 13]
    assert joined[here].tolist() == mine.tolist()
    torch.save(train(name, lambda batch: batch[rank::2]), Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
