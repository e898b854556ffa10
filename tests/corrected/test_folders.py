"""Folders of images: where each one goes, and that none goes astray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thresher.corrected.folders import corrected_paths, place_files
from thresher.errors import DataError


def test_an_image_moves_to_the_folder_of_its_class():
    """What lies below the class stays; a name that is taken gets a number."""
    paths = ["cat/1.png", "cat/x/2.png", "dog/1.png", "dog/1-2.png", "fox/1.png"]
    found = corrected_paths(paths, ["dog", "dog", None, None, "dog"], 0, [True] * 5)
    assert ["dog/1-3.png", "dog/x/2.png", "dog/1.png", "dog/1-2.png", "dog/1-4.png"] == found


def test_below_a_lone_folder_the_class_is_the_second_part():
    """train/cat/1.png."""
    found = corrected_paths(["train/cat/1.png", "train/dog/2.png"], ["dog", None], 1, [True, False])
    assert ["train/dog/1.png", None] == found


def test_the_place_of_an_image_that_is_left_out_is_free():
    """No number is needed then."""
    found = corrected_paths(["cat/1.png", "dog/1.png"], ["dog", None], 0, [True, False])
    assert ["dog/1.png", None] == found


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "..\\x", "a\0b"])
def test_a_class_that_is_no_name_of_a_folder_is_refused(name):
    """It could lead out of the export."""
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        corrected_paths(["cat/1.png"], [name], 0, [True])


@given(st.data())
def test_no_two_images_share_a_place(data):
    """However names repeat; an image that keeps its class keeps its name."""
    classes = st.sampled_from(["cat", "dog", "fox"])
    names = st.sampled_from(["1.png", "1-2.png", "2.png", "1-2-2.png"])
    pairs = data.draw(st.lists(st.tuples(classes, names), unique=True, max_size=12))
    paths = [f"{folder}/{name}" for folder, name in pairs]
    folders = [data.draw(st.none() | classes) for _ in paths]
    stays = [data.draw(st.booleans()) for _ in paths]
    found = corrected_paths(paths, folders, 0, stays)
    written = [place for place in found if place is not None]
    assert len(written) == len(set(written)) == sum(stays)
    for path, folder, kept, place in zip(paths, folders, stays, found, strict=True):
        if kept:
            assert (folder or path.split("/")[0]) == place.split("/")[0]
            assert folder is not None or place == path


def test_images_are_copied_or_linked(tmp_path):
    """A link is the same file; a copy is one of its own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(b"pixels")
    pairs = [("1.png", "cat/1.png")]
    assert 0 == place_files(tmp_path / "in", tmp_path / "copied", pairs, link=False)
    assert 1 == place_files(tmp_path / "in", tmp_path / "linked", pairs, link=True)
    assert b"pixels" == (tmp_path / "copied/cat/1.png").read_bytes()
    assert not (tmp_path / "copied/cat/1.png").samefile(tmp_path / "in/1.png")
    assert (tmp_path / "linked/cat/1.png").samefile(tmp_path / "in/1.png")


def test_where_there_are_no_links_copies_are_made(tmp_path, monkeypatch):
    """Another file system, for instance."""

    def link(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", link)
    (tmp_path / "1.png").write_bytes(b"pixels")
    assert 0 == place_files(tmp_path, tmp_path / "out", [("1.png", "a/1.png")], link=True)
    assert b"pixels" == (tmp_path / "out/a/1.png").read_bytes()


def test_an_image_that_is_gone_is_named(tmp_path):
    """Nothing is made up for it."""
    with pytest.raises(DataError, match=r"1\.png is not there any more"):
        place_files(tmp_path, tmp_path / "out", [("1.png", "a/1.png")], link=False)
