"""One of two processes that train a convolutional network in double precision.

python double_in_two_processes.py RANK MEETING_FILE RESULT METHOD…
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

from thresher.models import Preparation, SmallCnn
from thresher.noise import make_method
from thresher.training.loop import Rows, Settings, Training
from thresher.training.stream import Stream

SAMPLES, CLASSES, EPOCHS = 200, 10, 3


class Double:
    """What prepares a batch, in double precision."""

    def __init__(self, pixels):
        self.prepare = Preparation.fit(pixels.numpy())

    def __call__(self, batch):
        return self.prepare(batch).double()


def trained(name):
    """The network's state after every epoch, in as many processes as there are."""
    digits = load_digits()
    pixels = torch.as_tensor(15 * digits.images[:SAMPLES]).to(torch.uint8).unsqueeze(-1)
    generator = torch.Generator().manual_seed(0)
    redrawn = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    labels = torch.as_tensor(digits.target[:SAMPLES])
    labels = torch.where(torch.rand(SAMPLES, generator=generator) < 0.3, redrawn, labels)
    far = torch.randint(0, 256, (61, 8, 8, 1), generator=generator).to(torch.uint8)
    prepare = Double(pixels)
    method = make_method(name)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = SmallCnn((1, 8, 8), CLASSES, widths=(8, 16)).double()
    criterion = method.start(SAMPLES, CLASSES, epochs=EPOCHS, labels=labels)
    training = Training(
        model,
        criterion,
        Rows(pixels, labels, torch.arange(SAMPLES), prepare),
        Settings(epochs=EPOCHS, batch_size=32, peak_rate=0.05),
        streams=dict.fromkeys(method.streams(), Stream(far, prepare, None, 0)),
    )
    return [
        {name: values.clone() for name, values in model.state_dict().items()}
        for _ in training.run()
    ]


if __name__ == "__main__":
    rank, meeting, result, *methods = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=Path(meeting).as_uri(),
        rank=int(rank),
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    torch.save({name: trained(name) for name in methods}, result)
    dist.destroy_process_group()
