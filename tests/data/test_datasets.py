import warnings

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from thresher.data import Indexed, open_data
from thresher.data.datasets import is_map_style
from thresher.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 0, 1]


class Rows(Dataset):
    """Map-style rows made by a function."""

    def __init__(self, make, count=6):
        self.make, self.count = make, count

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        if not 0 <= row < self.count:
            raise IndexError(row)
        return self.make(row)


def test_pillow_images_are_read_once_and_in_order():
    asked = []

    def make(row):
        asked.append(row)
        return Image.fromarray(IMAGES[row]), LABELS[row]

    samples = open_data(Rows(make))
    np.testing.assert_array_equal(IMAGES, samples.inputs)
    assert LABELS == samples.labels.tolist()
    assert [0, *range(6)] == asked  # the first one is looked at before the work
    assert any("random transforms of the data set stay" in note for note in samples.notes)


@pytest.mark.parametrize(
    "make",
    [
        lambda row: (IMAGES[row], LABELS[row]),
        lambda row: (torch.from_numpy(IMAGES[row]).permute(2, 0, 1), torch.tensor(LABELS[row])),
        lambda row: {"image": Image.fromarray(IMAGES[row]), "label": LABELS[row]},
        lambda row: {"pixel_values": IMAGES[row], "labels": np.int64(LABELS[row]), "id": row},
        lambda row: [torch.from_numpy(IMAGES[row]).permute(2, 0, 1) / 255, LABELS[row]],
    ],
    ids=["array", "tensor", "dictionary", "other keys", "floats"],
)
def test_rows_of_every_form_are_the_same_images(make):
    samples = open_data(Rows(make))
    np.testing.assert_array_equal(IMAGES, samples.inputs)
    assert LABELS == samples.labels.tolist()
    floats = any("floats in [0, 1]" in note for note in samples.notes)
    assert floats == (type(make(0)) is list)


def test_grey_tensors_have_one_channel():
    samples = open_data(Rows(lambda row: (torch.from_numpy(IMAGES[row, ..., 0]), LABELS[row])))
    np.testing.assert_array_equal(IMAGES[..., :1], samples.inputs)


def test_vectors_are_features():
    X = torch.arange(12.0).reshape(6, 2)
    samples = open_data(TensorDataset(X, torch.tensor(LABELS)))
    np.testing.assert_array_equal(X.numpy(), samples.inputs)
    assert LABELS == samples.labels.tolist()
    assert open_data((X, LABELS)).sample_id == samples.sample_id


def test_class_names_are_taken_from_the_data_set():
    data = Rows(lambda row: (IMAGES[row], LABELS[row]))
    data.classes = ["horse", "ass"]
    samples = open_data(data)
    assert ("ass", "horse") == samples.classes
    assert [1, 0] * 3 == samples.labels.tolist()


def test_normalised_images_are_refused_with_the_repair():
    with pytest.raises(DataError, match=r"Row 0 .* pixels from .* expected \[0, 1\]") as caught:
        open_data(Rows(lambda row: (torch.randn(3, 5, 4), LABELS[row])))
    assert "leave out the transform" in caught.value.cause


def test_pillow_images_of_other_sizes_are_resized_aloud():
    def make(row):
        return Image.fromarray(IMAGES[row]).resize((4 + row % 2, 5)), LABELS[row]

    samples = open_data(Rows(make))
    assert (6, 5, 4, 3) == samples.inputs.shape
    assert any("3 images of 6 resized to 4 x 5" in note for note in samples.notes)


def test_rows_that_differ_from_the_first_are_named():
    with pytest.raises(DataError, match=r"Row 3 .*shape \(4,\).* the first has \(3,\)"):
        open_data(Rows(lambda row: (np.zeros(3 + (row == 3)), LABELS[row])))


def test_rows_that_fail_are_named():
    def make(row):
        if row == 2:
            raise KeyError("gone")
        return IMAGES[row], LABELS[row]

    with pytest.raises(DataError, match=r"Row 2 .* of the Rows cannot be read: KeyError"):
        open_data(Rows(make))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (("a", 1, 2), "tuple of 3"),
        ({"left": 1.0, "label": 1}, 'Which key holds the inputs.*"left", "label"'),
        (("text", 1), "of type str"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(item, words):
    with pytest.raises(DataError, match=words):
        open_data(Rows(lambda row: item))


def test_keys_of_dictionaries_can_be_named():
    data = Rows(lambda row: {"left": IMAGES[row], "right": IMAGES[row], "kind": LABELS[row]})
    samples = open_data(data, image="left", label="kind")
    assert LABELS == samples.labels.tolist()
    again = open_data(data, encoding=samples.encoding, classes=samples.classes)
    assert samples.fingerprint == again.fingerprint


def test_data_to_predict_may_come_without_labels():
    samples = open_data(Rows(lambda row: (IMAGES[row], LABELS[row])))
    new = open_data(
        Rows(lambda row: Image.fromarray(IMAGES[row]).resize((8, 10))),
        encoding=samples.encoding,
        classes=samples.classes,
        labelled=False,
    )
    assert (6, 5, 4, 3) == new.inputs.shape
    assert [-1] * 6 == new.labels.tolist()
    with pytest.raises(DataError, match="no labels"):
        open_data(Rows(lambda row: IMAGES[row]))


def test_large_data_sets_are_mapped_from_the_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("thresher.data.items.IN_MEMORY_BYTES", 1)
    monkeypatch.setattr("thresher.data.items.BLOCK", 4)
    data = Rows(lambda row: (IMAGES[row], LABELS[row]))
    told = []
    samples = open_data(data, scratch=tmp_path, progress=lambda *each: told.append(each))
    assert isinstance(samples.inputs.base, np.memmap) or isinstance(samples.inputs, np.memmap)
    np.testing.assert_array_equal(IMAGES, samples.inputs)
    assert [(4, 6), (6, 6)] == told
    open_data(data, scratch=tmp_path)
    assert 1 == len(list(tmp_path.iterdir()))


class Stream(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], 0


@pytest.mark.parametrize(
    ("data", "words", "repair"),
    [
        (Stream(), "in a stream", "list"),
        (iter([1, 2]), "in a stream", "list"),
        (DataLoader(TensorDataset(torch.zeros(4, 2))), "batches in random order", "loader.dataset"),
        ({"train": [1], "test": [2]}, 'dict of "train", "test"', 'data["train"]'),
    ],
    ids=["torch", "iterator", "loader", "mapping"],
)
def test_streams_and_loaders_are_refused_with_the_repair(data, words, repair):
    with pytest.raises(DataError, match=words) as caught:
        open_data(data)
    assert repair in caught.value.fix


def test_arrays_and_sequences_are_not_taken_for_data_sets():
    from scipy.sparse import csr_array

    for data in (np.zeros((2, 2)), [1, 2], (1, 2), torch.zeros(2), csr_array(np.eye(2)), range(3)):
        assert not is_map_style(data)


def test_what_was_read_is_a_data_set_for_other_loops():
    samples = open_data((IMAGES, LABELS))
    samples.inputs.setflags(write=False)  # as a map is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index, inputs, labels = next(iter(DataLoader(Indexed(samples), batch_size=6)))
    np.testing.assert_array_equal(IMAGES, inputs.numpy())
    assert LABELS == labels.tolist()
    assert list(range(6)) == index.tolist()
    samples.inputs.setflags(write=True)


# ---------------------------------------------------------------------- Hugging Face
class ClassLabel:
    names = ("ant", "bee")

    def __init__(self):
        self.names = ["ant", "bee"]


class Features:
    """A data set by protocol alone."""

    features = {"x": object(), "label": ClassLabel()}  # noqa: RUF012

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def with_format(self, kind):
        assert "arrow" == kind
        return self

    def __getitem__(self, rows):
        return self.table[rows] if isinstance(rows, slice) else pytest.fail("row by row")


def test_a_hugging_face_data_set_is_a_table_with_class_names():
    samples = open_data(Features(pa.table({"x": [1.0, 2, 3, 4], "label": [0, 1, 0, 1]})))
    assert ("ant", "bee") == samples.classes
    assert "features" == samples.kind
    assert [1, 2, 3, 4] == samples.inputs[:, 0].tolist()


def test_real_hugging_face_data_sets_are_read(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
    Image.fromarray(IMAGES[3]).save(tmp_path / "3.png")
    cells = [Image.fromarray(pixels) for pixels in IMAGES]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
    )
    data = datasets.Dataset.from_dict({"image": cells, "label": LABELS}, features=features)
    samples = open_data(data)
    np.testing.assert_array_equal(IMAGES, samples.inputs)
    assert ("ant", "bee") == samples.classes
    order = [5, 0, 3, 2]
    np.testing.assert_array_equal(IMAGES[order], open_data(data.select(order)).inputs)
    by_path = datasets.Dataset.from_dict(
        {"image": [str(tmp_path / "3.png")] * 4, "label": LABELS[:4]}, features=features
    )
    np.testing.assert_array_equal(IMAGES[[3] * 4], open_data(by_path).inputs)
    with pytest.raises(DataError, match="in a stream"):
        open_data(data.to_iterable_dataset())
    both = datasets.DatasetDict({"train": data, "test": data})
    with pytest.raises(DataError, match="not one data set"):
        open_data(both)
    from thresher.data.splits import training_and_test

    assert (data, data) == training_and_test(both)[:2]


@pytest.mark.parametrize(
    "make",
    [
        lambda row: (Image.fromarray(IMAGES[row]), LABELS[row]),
        lambda row: {"x": IMAGES[row], "y": LABELS[row]},
        lambda row: (torch.from_numpy(IMAGES[row]).permute(2, 0, 1), LABELS[row]),
    ],
    ids=["pair", "dictionary", "tensor"],
)
def test_a_list_of_samples_is_a_data_set(make):
    samples = open_data([make(row) for row in range(6)])
    np.testing.assert_array_equal(IMAGES, samples.inputs)
    assert LABELS == samples.labels.tolist()


@pytest.mark.parametrize("other", [IMAGES[0], None, "a.png"], ids=["array", "nothing", "text"])
def test_what_is_no_image_among_images_is_named(other):
    rows = Rows(lambda row: (other if row == 4 else Image.fromarray(IMAGES[row]), LABELS[row]))
    with pytest.raises(DataError, match=r"Row 4 .* the first is a Pillow image"):
        open_data(rows)


def test_tensors_that_carry_gradients_are_numbers():
    samples = open_data(Rows(lambda row: (torch.full((2,), row + 0.5).requires_grad_(), row % 2)))
    assert [[row + 0.5] * 2 for row in range(6)] == samples.inputs.tolist()


def test_what_a_data_set_cannot_say_of_itself_is_an_error_that_tells_so():
    class Nameless(Rows):
        @property
        def classes(self):
            raise RuntimeError("names are\nfetched later")

    with pytest.raises(DataError, match=r"classes of the Nameless .* names are fetched later"):
        open_data(Nameless(lambda row: (IMAGES[row], LABELS[row])))

    class Endless(Rows):
        def __len__(self):
            raise TypeError("no length")

    with pytest.raises(DataError, match="The length of the Endless cannot be read"):
        open_data(Endless(lambda row: (IMAGES[row], LABELS[row])))
