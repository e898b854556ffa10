"""Copies of decoded images: mapped, found again, and whole or not there."""

import os
import shutil
from collections import namedtuple

import numpy as np
import pyarrow as pa
import pytest

from pictures import class_folders, picture, write
from thresher.data import open_data
from thresher.data.scratch import RowsOnDisk
from thresher.errors import DataError, RunError


@pytest.fixture(autouse=True)
def small_memory(monkeypatch):
    """Nothing but a byte stays in memory."""
    monkeypatch.setattr("thresher.data.images.IN_MEMORY_BYTES", 1)
    monkeypatch.setattr("thresher.data.images.MOST_IMAGES", 2)


@pytest.fixture
def never_decoded(monkeypatch):
    def fails(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("thresher.data.images._pixels", fails)
    monkeypatch.setattr("thresher.data.images._measure", fails)


def owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def same(first, second):
    """All that was read is alike."""
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert first.fingerprint == second.fingerprint
    assert first.sample_id == second.sample_id
    assert first.skipped == second.skipped
    assert first.notes == second.notes
    assert first.conflicts == second.conflicts
    return True


def folder_with_a_broken_image(root):
    class_folders(root, each=6)
    write(root / "cat" / "1.png", picture(0, 9, 9))
    (root / "dog" / "3.png").write_bytes(b"rubbish")


def test_the_processes_of_a_training_map_one_copy(tmp_path, monkeypatch, request):
    """The first decodes, the next one finds its copy, though memory would hold the images."""
    monkeypatch.setattr("thresher.data.images.IN_MEMORY_BYTES", 256 << 20)
    folder_with_a_broken_image(tmp_path / "data")
    first = open_data(tmp_path / "data", scratch=tmp_path / "state", in_memory=0)
    assert isinstance(owner(first.inputs), np.memmap)
    request.getfixturevalue("never_decoded")
    second = open_data(tmp_path / "data", scratch=tmp_path / "state", in_memory=0)
    assert same(first, second)


def test_a_copy_is_mapped_and_equals_what_memory_would_hold(tmp_path):
    folder_with_a_broken_image(tmp_path / "data")
    copied = open_data(tmp_path / "data", scratch=tmp_path / "state")
    assert isinstance(owner(copied.inputs), np.memmap)
    assert same(open_data(tmp_path / "data"), copied)
    copied.unload()
    assert 11 == len(copied.inputs)


def test_a_resumed_run_maps_the_copy_instead_of_decoding(tmp_path, request):
    folder_with_a_broken_image(tmp_path / "data")
    first = open_data(tmp_path / "data", scratch=tmp_path / "state")
    (tmp_path / "data").rename(tmp_path / "moved")
    request.getfixturevalue("never_decoded")
    assert same(first, open_data(tmp_path / "moved", scratch=tmp_path / "state"))


def test_a_copy_of_cells_is_found_again_by_their_content(tmp_path, request):
    class_folders(tmp_path / "data")
    cells = [path.read_bytes() for path in sorted((tmp_path / "data").rglob("*.png"))]
    table = pa.table({"image": pa.array(cells, pa.binary()), "label": list("aabbab")})
    first = open_data(table, scratch=tmp_path / "state")
    request.getfixturevalue("never_decoded")
    corrected = table.set_column(1, "label", pa.array(list("ababab")))  # the images are the same
    again = open_data(corrected, scratch=tmp_path / "state")
    np.testing.assert_array_equal(first.inputs, again.inputs)
    with pytest.raises(DataError, match="decoded again"):
        open_data(table.slice(1), scratch=tmp_path / "state")


def test_changed_files_and_other_sizes_are_decoded_anew(tmp_path):
    class_folders(tmp_path / "data")
    open_data(tmp_path / "data", scratch=tmp_path / "state")
    path = tmp_path / "data" / "cat" / "0.png"
    write(path, picture(77))
    os.utime(path, ns=(0, 1))
    again = open_data(tmp_path / "data", scratch=tmp_path / "state")
    np.testing.assert_array_equal(picture(77), again.inputs[0])
    small = open_data(tmp_path / "data", scratch=tmp_path / "state", longest_side=3)
    assert (6, 3, 2, 3) == small.inputs.shape


def test_a_damaged_copy_is_made_anew(tmp_path):
    class_folders(tmp_path / "data")
    first = open_data(tmp_path / "data", scratch=tmp_path / "state")
    (copy,) = (tmp_path / "state").iterdir()
    for name, content in (("images.json", b"{"), ("pixels.npy", b"\x93NUMPY")):
        (copy / name).write_bytes(content)
        again = open_data(tmp_path / "data", scratch=tmp_path / "state")
        np.testing.assert_array_equal(picture(0), again.inputs[0])
    assert first.sample_id == again.sample_id


def test_an_interruption_leaves_nothing(tmp_path):
    class_folders(tmp_path / "data")

    def interrupt(done, count):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_data(tmp_path / "data", scratch=tmp_path / "state", progress=interrupt)
    assert [] == list((tmp_path / "state").iterdir())


def test_a_full_disk_is_told_before_the_work_with_the_size_needed(tmp_path, monkeypatch):
    class_folders(tmp_path / "data")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
    with pytest.raises(RunError, match=r"needs 0\.00 GB in .*state: no space left") as caught:
        open_data(tmp_path / "data", scratch=tmp_path / "state")
    assert "Free some space" in caught.value.fix


def test_a_disk_that_fills_up_during_the_work_leaves_nothing(tmp_path, monkeypatch):
    class_folders(tmp_path / "data")

    def full(self, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowsOnDisk, "append", full)
    with pytest.raises(RunError, match="no space left on device"):
        open_data(tmp_path / "data", scratch=tmp_path / "state")
    assert [] == list((tmp_path / "state").iterdir())


def test_training_and_test_data_share_a_scratch_folder(tmp_path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", each=2)
    trained = open_data(tmp_path / "train", scratch=tmp_path / "state")
    tested = open_data(
        tmp_path / "test",
        encoding=trained.encoding,
        classes=trained.classes,
        scratch=tmp_path / "state",
    )
    assert 2 == len(list((tmp_path / "state").iterdir()))
    np.testing.assert_array_equal(picture(5), trained.inputs[5])
    np.testing.assert_array_equal(picture(3), tested.inputs[3])


def test_small_inputs_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("thresher.data.images.IN_MEMORY_BYTES", 1 << 20)
    class_folders(tmp_path / "data")
    samples = open_data(tmp_path / "data", scratch=tmp_path / "state")
    assert not isinstance(owner(samples.inputs), np.memmap)
    assert not (tmp_path / "state").exists()
