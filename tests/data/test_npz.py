import numpy as np
import pytest

from thresher.data import open_data
from thresher.data.npz import labels_beside
from thresher.errors import DataError, LabelError

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 0, 1, 0, 1])


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "compressed"])
def save(request, tmp_path):
    def save(**arrays):
        request.param(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return save


@pytest.mark.parametrize("name", ["X", "x"])
def test_an_archive_reads_like_its_arrays(save, name):
    from_file = open_data(save(**{name: X, "y": Y}))
    in_memory = open_data((X, Y))
    np.testing.assert_array_equal(in_memory.inputs, from_file.inputs)
    assert in_memory.fingerprint == from_file.fingerprint
    assert in_memory.sample_id == from_file.sample_id


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8, np.bool_, ">f4"])
def test_other_numbers_become_float32(save, dtype):
    samples = open_data(save(X=(X % 2).astype(dtype), y=Y))
    assert np.float32 == samples.inputs.dtype
    np.testing.assert_array_equal(X % 2, samples.inputs)


def test_column_major_arrays_keep_their_rows(save):
    np.testing.assert_array_equal(X, open_data(save(X=np.asfortranarray(X), y=Y)).inputs)


def test_stored_arrays_are_mapped_and_never_written_back(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=Y)
    before = path.read_bytes()
    samples = open_data(path)
    base = samples.inputs
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    samples.inputs[:] = 7  # writable, as PyTorch wants it
    del samples, base
    assert before == path.read_bytes()


def test_arrays_are_found_by_the_names_given(save):
    path = save(train=X, test=X[:2], labels=Y, more=Y[:2])
    samples = open_data(path, image="train", label="labels")
    tested = open_data(
        path, image="test", label="more", encoding=samples.encoding, classes=samples.classes
    )
    assert (6, 2) == (len(samples), len(tested))


def test_test_data_are_found_by_the_names_of_training(save):
    samples = open_data(save(train=X, labels=Y), image="train", label="labels")
    tested = open_data(
        save(train=X[:3], labels=Y[:3]), encoding=samples.encoding, classes=samples.classes
    )
    assert 3 == len(tested)


def test_data_to_predict_need_no_labels(save):
    samples = open_data((X, Y))
    new = open_data(save(X=X), encoding=samples.encoding, classes=samples.classes, labelled=False)
    assert [-1] * 6 == new.labels.tolist()
    assert ("0", "1") == new.classes


def test_archives_without_labels_or_inputs_name_what_they_hold(save):
    with pytest.raises(DataError, match=r'no array of labels, y; it holds "X", "z"'):
        open_data(save(X=X, z=Y))
    with pytest.raises(DataError, match=r"no array of inputs, X or x"):
        open_data(save(data=X, y=Y))
    with pytest.raises(DataError, match=r'no array "labls"') as caught:
        open_data(save(X=X, labels=Y), label="labls")
    assert caught.value.fix == 'Did you mean "labels"?'


def test_pickled_objects_are_refused(save):
    with pytest.raises(DataError, match=r'"y" of .* holds Python objects'):
        open_data(save(X=X, y=np.array(["a", None] * 3, object)))


def test_texts_are_labels(save):
    assert ("cat", "dog") == open_data(save(X=X, y=np.array(["cat", "dog"] * 3))).classes


def test_continuous_labels_are_refused(save):
    with pytest.raises(LabelError, match="y looks continuous"):
        open_data(save(X=X, y=X[:, 0] / 7))


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 broken"])
def test_broken_archives_are_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz (is empty|cannot be read)"):
        open_data(path)


def test_a_damaged_member_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=np.random.default_rng(0).random((100, 8)), y=np.arange(100) % 2)
    content = bytearray(path.read_bytes())
    content[600:800] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz cannot be read"):
        open_data(path)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        ("X", "y"),
        ("X_train", "y_train"),
        ("train_images", "train_labels"),
        ("embeddings", "labels"),
        ("vectors", "vectors_labels"),
        ("vectors", "labels"),
        ("vectors", "y"),
    ],
)
def test_an_array_alone_finds_its_labels_beside_it(tmp_path, inputs, labels):
    np.save(tmp_path / f"{inputs}.npy", X)
    np.save(tmp_path / f"{labels}.npy", Y)
    samples = open_data(tmp_path / f"{inputs}.npy")
    assert open_data((X, Y)).fingerprint == samples.fingerprint
    assert f"The labels are taken from {labels}.npy." == samples.notes[0]


def test_the_nearest_name_wins_and_no_array_labels_itself(tmp_path):
    for name in ("X_train", "y", "y_train", "labels"):
        np.save(tmp_path / f"{name}.npy", Y)
    assert "y_train.npy" == labels_beside(tmp_path / "X_train.npy").name
    assert "y.npy" == labels_beside(tmp_path / "labels.npy").name


def test_an_array_without_labels_says_where_they_were_looked_for(tmp_path):
    np.save(tmp_path / "vectors.npy", X)
    with pytest.raises(DataError, match=r"no vectors_labels\.npy, labels\.npy or y\.npy"):
        open_data(tmp_path / "vectors.npy")
    trained = open_data((X, Y))
    new = open_data(
        tmp_path / "vectors.npy",
        encoding=trained.encoding,
        classes=trained.classes,
        labelled=False,
    )
    assert 6 == len(new)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_arrays_in_files_are_mapped_without_a_copy(tmp_path, dtype):
    array = (np.arange(96).reshape(6, 4, 4) % 7).astype(dtype)
    np.save(tmp_path / "X.npy", array)
    np.save(tmp_path / "y.npy", Y)
    before = (tmp_path / "X.npy").read_bytes()
    samples = open_data(tmp_path / "X.npy")
    base = samples.inputs
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    samples.inputs[:] = 1
    assert before == (tmp_path / "X.npy").read_bytes()


def test_column_major_files_keep_their_rows(tmp_path):
    np.save(tmp_path / "X.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    np.testing.assert_array_equal(X, open_data(tmp_path / "X.npy").inputs)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no array", "cannot be read as a NumPy array"),
        (b"\x93NUMPY\x01\x00", "cannot be read as a NumPy array"),
    ],
)
def test_broken_array_files_are_refused(tmp_path, content, words):
    (tmp_path / "X.npy").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / "X.npy")


def test_array_files_cut_short_or_of_objects_are_refused(tmp_path):
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match="ends before the last of 24 numbers"):
        open_data(tmp_path / "X.npy")
    np.save(tmp_path / "X.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        open_data(tmp_path / "X.npy")


@pytest.mark.parametrize("column_major", [False, True])
def test_a_header_that_promises_more_than_follows_is_refused_before_room_is_made(
    tmp_path, column_major
):
    described = {"descr": "<f4", "fortran_order": column_major, "shape": (10**11, 5)}
    with (tmp_path / "X.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, described)
        file.write(bytes(80))
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match="ends before the last of 500,000,000,000 numbers"):
        open_data(tmp_path / "X.npy")
