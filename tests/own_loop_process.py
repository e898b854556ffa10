"""One of two processes that train as a user does; run by training/test_own_loop.py.

python own_loop_process.py RANK MEETING_FILE RESULT
"""

import sys
from itertools import product
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate.data_loader import BatchSamplerShard
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

from thresher.data import Indexed
from thresher.models import Networks
from thresher.noise import make_method

SAMPLES, WIDTH, CLASSES, EPOCHS = 27, 5, 3, 3
CASES = list(product(["standard", "elr", "selfie", "co-teaching"], ["torch", "accelerate"]))


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, WIDTH, generator=generator)
    return x, torch.randint(CLASSES, (SAMPLES,), generator=generator)


def network(seed=0, networks=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        members = [
            nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, CLASSES))
            for _ in range(networks)
        ]
    return members[0] if networks == 1 else Networks(members)


def batches(padding, rank, epoch):
    """The rows of this process, 27 in all, with some of the first again to fill up the last batch.

    torch repeats one row; Accelerate one row of the first process and a whole batch of the second.
    """
    if padding == "torch":
        sampler = DistributedSampler(range(SAMPLES), 2, rank, seed=4)
        sampler.set_epoch(epoch)
        return [each.tolist() for each in torch.tensor(list(sampler)).split(4)]
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch)).tolist()
    return list(BatchSamplerShard(BatchSampler(order, 4, drop_last=False), 2, rank))


def as_two_processes(name, padding, rank):
    """What this process trains: its own share, in DistributedDataParallel."""
    dataset = Indexed(TensorDataset(*data()))
    method = make_method(name)
    model = DistributedDataParallel(network(networks=method.networks))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS)
    for epoch in range(EPOCHS):
        for index, x, y in DataLoader(dataset, batch_sampler=batches(padding, rank, epoch)):
            optimizer.zero_grad()
            criterion(index, model(x), y).backward()
            optimizer.step()
        criterion.end_epoch()
    return {"model": model.module.state_dict(), "history": criterion.state_dict()["history"]}


def as_one_process(name, padding):
    """The same batches joined, without the rows that only fill up the last ones."""
    x, y = data()
    method = make_method(name)
    model = network(networks=method.networks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS)
    for epoch in range(EPOCHS):
        seen = set()
        for pair in zip(*(batches(padding, rank, epoch) for rank in range(2)), strict=True):
            index = torch.tensor([row for each in pair for row in each if row not in seen])
            seen |= set(index.tolist())
            optimizer.zero_grad()
            criterion(index, model(x[index]), y[index]).backward()
            optimizer.step()
        criterion.end_epoch()
    return {"model": model.state_dict(), "history": criterion.state_dict()["history"]}


def main():
    """Join the other process, train, save."""
    rank, meeting, result = int(sys.argv[1]), *sys.argv[2:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.save({case: as_two_processes(*case, rank) for case in CASES}, Path(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
