"""Batches that follow the training: digits that the network is unsure of come more often.

python examples/adaptive_batches.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher.data import Indexed
from thresher.sampling import AdaptiveBatchSampler, Scored


class Unsure(Scored):
    """The closer the two most probable classes, the more wanted."""

    warmup = 2

    def pressure(self, epoch):
        """Ten times as likely as a sure one, however late."""
        return 10.0

    def rescore(self, observed):
        """First minus second probability, in [0, 1]."""
        first, second = observed.logits.softmax(1).topk(2).values.unbind(1)
        return first - second


images, digits = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
torch.manual_seed(0)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
sampler = AdaptiveBatchSampler(Unsure(), 1200, 10, batch_size=64)
loader = DataLoader(Indexed(TensorDataset(x[:1200], y[:1200])), batch_sampler=sampler)
for _ in range(10):
    for index, inputs, labels in loader:
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sampler.observe(index, logits=logits, targets=labels)

report = sampler.report()
print(f"accuracy on the test rows    {(model(x[1200:]).argmax(1) == y[1200:]).float().mean():.1%}")
print(f"rows seen in the last epoch  {report.coverage:.1%}")
print(f"effective sample size        {report.effective_sample_size:.0f} of 1200")
