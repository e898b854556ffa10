"""Your own training loop on digits of which 30 % have a wrong label.

python examples/own_loop.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher.audit import Record, judge
from thresher.data import Indexed
from thresher.noise import SELFIE, Standard

EPOCHS, CLASSES = 40, 10

# Handwritten digits, 8 × 8: the first 1,200 to train on, with wrong labels, the others to test.
images, digits = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
draws = torch.Generator().manual_seed(0)
given = y[:1200].clone()
wrong = torch.rand(1200, generator=draws) < 0.3
given[wrong] = (given[wrong] + torch.randint(1, 10, (int(wrong.sum()),), generator=draws)) % 10
data = TensorDataset(x[:1200], given)


def train(method):
    """Train with a method; returns the criterion and the accuracy on the test rows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = method.start(len(data), CLASSES, epochs=EPOCHS)
    for _ in range(EPOCHS):
        for index, inputs, labels in DataLoader(Indexed(data), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            criterion(index, model(inputs), labels).backward()
            optimizer.step()
        criterion.end_epoch()
    with torch.no_grad():
        hits = model(x[1200:]).argmax(1) == y[1200:]
    return criterion, hits.float().mean().item()


_, usual = train(Standard())
criterion, robust = train(SELFIE(noise_rate=0.3))

# The same training has seen how probable each given label was: the audit reads nothing else.
record = Record.from_history(criterion.history.state_dict(), given, "0123456789")
flagged = judge(record).is_label_issue

print(f"accuracy on the test rows, trained as usual  {usual:.1%}")
print(f"accuracy on the test rows, with SELFIE       {robust:.1%}")
print(f"flagged {flagged.sum()} labels, of which {wrong.numpy()[flagged].mean():.1%} are wrong")
