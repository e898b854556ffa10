"""Archives made here, from random images, in the layouts of the authors."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from thresher.data import open_data
from thresher.data.cifar import load_arrays
from thresher.data.splits import folder_splits, training_and_test
from thresher.errors import DataError

TEN = [f"class{number}" for number in "0123456789"]
PER_BATCH = 20


def batch(seed, classes=10):
    """Pixels (n, 3072) as stored, channel by channel, and labels."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)
    return pixels, [number % classes for number in range(PER_BATCH)]


def images_of(*seeds):
    pixels = np.concatenate([batch(seed)[0] for seed in seeds])
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def python_two(content):
    """A pickle as Python 2 wrote it: texts are byte strings, NumPy has its old name."""
    as_bytes = {key.encode(): value for key, value in content.items()}
    written = pickle.dumps(as_bytes, protocol=3)
    return written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def ten(pickled):
    files = {}
    for number, name in enumerate([f"data_batch_{each}" for each in range(1, 6)] + ["test_batch"]):
        pixels, labels = batch(number)
        files[name] = pickled({"data": pixels, "labels": labels, "filenames": [b"a.png"] * 20})
    files["batches.meta"] = pickled({"label_names": [name.encode() for name in TEN]})
    return files


def hundred(pickled):
    files = {}
    for number, name in enumerate(["train", "test"]):
        pixels, labels = batch(number)
        coarse = [label // 5 for label in labels]
        files[name] = pickled({"data": pixels, "fine_labels": labels, "coarse_labels": coarse})
    names = {"fine_label_names": TEN, "coarse_label_names": ["low", "high"]}
    return {**files, "meta": pickled(names)}


def binary_ten():
    files = {}
    for number, name in enumerate([f"data_batch_{each}" for each in range(1, 6)] + ["test_batch"]):
        pixels, labels = batch(number)
        column = np.array(labels, np.uint8)[:, None]
        files[f"{name}.bin"] = np.hstack([column, pixels]).tobytes()
    return {**files, "batches.meta.txt": "\n".join([*TEN, ""]).encode()}


def binary_hundred():
    files = {}
    for number, name in enumerate(["train", "test"]):
        pixels, labels = batch(number)
        columns = np.array([[label // 5, label] for label in labels], np.uint8)
        files[f"{name}.bin"] = np.hstack([columns, pixels]).tobytes()
    names = {"fine_label_names.txt": "\n".join(TEN), "coarse_label_names.txt": "low\nhigh"}
    return {**files, **{name: text.encode() for name, text in names.items()}}


def folder(root, files, name="cifar"):
    (root / name).mkdir()
    for file, content in files.items():
        (root / name / file).write_bytes(content)
    return root / name


def archive(root, files):
    path = root / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("form", [folder, archive])
@pytest.mark.parametrize(
    "files", [ten(pickle.dumps), ten(python_two), binary_ten()], ids=["3", "2", "binary"]
)
def test_cifar_10_is_read_as_its_authors_give_it(tmp_path, form, files):
    path = form(tmp_path, files)
    samples = open_data(path)
    np.testing.assert_array_equal(images_of(0, 1, 2, 3, 4), samples.inputs)
    assert tuple(TEN) == samples.classes
    assert list(range(10)) * 10 == samples.labels.tolist()
    train, test, _ = training_and_test(path)
    assert path == train
    tested = open_data(test, encoding=samples.encoding, classes=samples.classes)
    np.testing.assert_array_equal(images_of(5), tested.inputs)
    assert list(range(10)) * 2 == tested.labels.tolist()


@pytest.mark.parametrize("files", [hundred(pickle.dumps), binary_hundred()], ids=["py", "binary"])
def test_cifar_100_has_fine_and_coarse_labels(tmp_path, files):
    path = folder(tmp_path, files)
    fine = open_data(path)
    coarse = open_data(path, label="coarse")
    np.testing.assert_array_equal(images_of(0), fine.inputs)
    assert tuple(TEN) == fine.classes
    assert ("high", "low") == coarse.classes
    assert "low" == coarse.classes[coarse.labels[0]]
    tested = open_data(
        folder_splits(path)["test"], encoding=coarse.encoding, classes=coarse.classes
    )
    assert coarse.labels.tolist() == tested.labels.tolist()
    np.testing.assert_array_equal(images_of(1), tested.inputs)
    with pytest.raises(DataError, match='no labels "corse"') as caught:
        open_data(path, label="corse")
    assert "coarse_labels" in caught.value.fix


def test_archives_need_no_labels_to_predict(tmp_path):
    path = folder(tmp_path, ten(pickle.dumps))
    trained = open_data(path)
    new = open_data(
        path / "test_batch", encoding=trained.encoding, classes=trained.classes, labelled=False
    )
    assert [-1] * PER_BATCH == new.labels.tolist()


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("form", [folder, archive])
def test_a_batch_that_would_run_a_program_is_refused_unrun(tmp_path, form):
    files = ten(pickle.dumps)
    pixels, labels = batch(0)
    trap = {"data": pixels, "labels": labels, "extra": Malicious(str(tmp_path / "made"))}
    files["data_batch_2"] = pickle.dumps(trap)
    with pytest.raises(DataError, match=r"data_batch_2 is refused: it asks for .*mkdir"):
        open_data(form(tmp_path, files))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "named", ["builtins.eval", "builtins.getattr", "numpy.load", "codecs.encode", "os.system"]
)
def test_no_function_but_those_of_arrays_is_admitted(tmp_path, named):
    module, name = named.rsplit(".", 1)
    with pytest.raises(DataError, match=f"asks for {named}"):
        load_arrays(f"c{module}\n{name}\n(tR.".encode(), tmp_path)


def test_incomplete_and_damaged_batches_are_named(tmp_path):
    files = ten(pickle.dumps)
    del files["data_batch_3"]
    with pytest.raises(DataError, match='lacks "data_batch_3"'):
        open_data(folder(tmp_path, files, "lacking"))
    files["data_batch_3"] = files["data_batch_1"][:1000]
    with pytest.raises(DataError, match="data_batch_3 cannot be read as a batch of CIFAR"):
        open_data(folder(tmp_path, files, "cut"))
    files["data_batch_3"] = pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]})
    with pytest.raises(DataError, match=r"data_batch_3 .*shape \(2, 5\)"):
        open_data(folder(tmp_path, files, "shape"))
    files["data_batch_3"] = pickle.dumps({"labels": [0, 1]})
    with pytest.raises(DataError, match=r'data_batch_3 .*it holds "labels"'):
        open_data(folder(tmp_path, files, "keys"))
    files["data_batch_3"] = pickle.dumps([1])
    with pytest.raises(DataError, match="holds a list"):
        open_data(folder(tmp_path, files, "list"))
    binary = binary_ten()
    binary["data_batch_2.bin"] = binary["data_batch_2.bin"][:-1]
    with pytest.raises(DataError, match=r"data_batch_2\.bin .*no whole records of 3,073"):
        open_data(folder(tmp_path, binary, "binary"))


def test_other_archives_are_refused(tmp_path):
    with pytest.raises(DataError, match="not an archive of CIFAR") as caught:
        open_data(archive(tmp_path, {"a.png": b"x"}))
    assert "Unpack it" in caught.value.fix
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"b\.tar\.gz cannot be read"):
        open_data(tmp_path / "b.tar.gz")


def test_links_in_an_archive_are_no_files(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in ten(python_two).items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            if name == "data_batch_3":
                member.type, member.linkname = tarfile.SYMTYPE, "../../etc/passwd"
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match='lacks "data_batch_3"'):
        open_data(path)


def test_bytes_that_are_no_archive_are_refused_in_one_line(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read as an archive") as caught:
        open_data(path)
    assert "\n" not in caught.value.cause


@pytest.mark.parametrize("labels", [[[0]] * PER_BATCH, [0] * (PER_BATCH - 1)])
def test_labels_of_another_shape_are_refused_with_their_file(tmp_path, labels):
    files = ten(python_two)
    files["data_batch_2"] = python_two({"data": batch(1)[0], "labels": labels})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2 .* labels of shape .* for 20 images"):
        open_data(tmp_path)


@pytest.mark.parametrize("names", [{"label_names": 3}, {"names": TEN}])
def test_class_names_that_are_no_list_are_refused(tmp_path, names):
    for name, content in (ten(python_two) | {"batches.meta": python_two(names)}).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"batches\.meta .* holds no list label_names"):
        open_data(tmp_path)
