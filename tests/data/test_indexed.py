"""Indexed: each row with its number, whatever the data set holds and whoever reads it."""

import pickle
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from thresher.data import Indexed
from thresher.errors import DataError


def tensors(count=10):
    return TensorDataset(torch.arange(count) * 10.0, torch.arange(count) % 3)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("x", 1), (2, "x", 1)),
        (["x", 1], (2, "x", 1)),
        (("x", 1, "more", None), (2, "x", 1, "more", None)),
        ({"text": "x", "label": 1}, {"index": 2, "text": "x", "label": 1}),
    ],
)
def test_the_number_comes_before_what_the_row_holds(row, expected):
    """Tuples, lists and mappings."""
    assert expected == Indexed([None, None, row])[2]


def test_length_and_rows_from_the_end_are_those_of_the_data_set():
    """A negative number is told as the row it means."""
    dataset = Indexed(tensors())
    assert len(dataset) == 10
    assert dataset[-1][0] == 9
    with pytest.raises(IndexError):
        dataset[10]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_rows_for_any_number_of_workers(workers):
    """The numbers as a (B,) int64 tensor, each beside its own row."""
    loader = DataLoader(
        Indexed(tensors()),
        batch_size=4,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
    batches = list(loader)
    assert [4, 4, 2] == [len(index) for index, _, _ in batches]
    index, x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert index.dtype == torch.int64
    assert sorted(index.tolist()) == list(range(10))
    assert torch.equal(x, index * 10.0)
    assert torch.equal(y, index % 3)


def test_a_mapping_arrives_as_a_mapping():
    """As Hugging Face models want it."""
    rows = [{"text": float(number), "labels": number % 2} for number in range(6)]
    batch = next(iter(DataLoader(Indexed(rows), batch_size=6)))
    assert batch["index"].tolist() == list(range(6))
    assert batch["labels"].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_subset_is_numbered_anew_when_wrapped_last():
    """And keeps the numbers of the whole when wrapped first."""
    assert Indexed(Subset(tensors(), [7, 3]))[1][:2] == (1, 30.0)
    assert Subset(Indexed(tensors()), [7, 3])[1][:2] == (3, 30.0)


def test_it_survives_pickling():
    """Workers that are spawned get a copy."""
    copy = pickle.loads(pickle.dumps(Indexed(tensors())))
    assert copy[3] == Indexed(tensors())[3]


def test_a_data_set_that_fetches_whole_batches_is_asked_for_them():
    """One call instead of a call a row."""

    class Batched(list):
        calls = 0

        def __getitems__(self, numbers):
            self.calls += 1
            return [self[number] for number in numbers]

    rows = Batched((float(number), 0) for number in range(6))
    index, x, _ = next(iter(DataLoader(Indexed(rows), batch_size=6, shuffle=True)))
    assert torch.equal(index.double(), x)
    assert rows.calls == 1


def test_a_hugging_face_data_set_is_numbered():
    """By protocol: in one call a batch."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": [0.5, 1.5, 2.5], "label": [0, 1, 0]})
    assert Indexed(rows)[1] == {"index": 1, "x": 1.5, "label": 1}
    assert next(iter(DataLoader(Indexed(rows), batch_size=3)))["index"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="hands out its rows in a stream"):
        Indexed(rows.to_iterable_dataset())


class Stream(IterableDataset):
    """Rows without numbers, though with a length."""

    def __iter__(self):
        return iter([(1.0, 0)])

    def __len__(self):
        return 1


@pytest.mark.parametrize("stream", [Stream(), iter([(1.0, 0)]), {1.0}])
def test_a_stream_is_refused_with_the_reason(stream):
    """What was seen of a sample could not be found again."""
    with pytest.raises(DataError, match=r"no numbers by which.*map-style"):
        Indexed(stream)


@pytest.mark.parametrize(
    ("row", "message"),
    [(3.0, "Row 0 is a float"), ("text", "Row 0 is a str"), ({"index": 5}, 'a key "index"')],
)
def test_a_row_without_a_place_for_the_number_is_refused(row, message):
    """And one whose place is taken."""
    with pytest.raises(DataError, match=message):
        Indexed([row])[0]


def test_torch_is_not_needed():
    """The data are read without it."""
    code = (
        "import sys; from thresher.data import Indexed; Indexed([(1, 0)])[0]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pyarrow"} & set(done.stdout.split())
