import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pictures import class_folders, picture, write
from thresher.data import open_data
from thresher.data.folders import list_images
from thresher.errors import DataError, LabelError, ParameterError


def test_class_folders_become_samples(tmp_path):
    paths = class_folders(tmp_path)
    samples = open_data(tmp_path)
    assert ("cat", "dog") == samples.classes
    assert [0, 0, 0, 1, 1, 1] == samples.labels.tolist()
    np.testing.assert_array_equal(np.stack([picture(seed) for seed in range(6)]), samples.inputs)
    assert paths == samples.sample_id.to_pylist() == samples.paths.to_pylist()
    assert all((tmp_path / path).is_file() for path in samples.paths.to_pylist())
    assert () == samples.notes
    assert str(tmp_path) == samples.source


def test_class_folders_named_by_numbers_sort_as_numbers(tmp_path):
    class_folders(tmp_path, ("10", "9", "0"), 2)
    samples = open_data(tmp_path)
    assert ("0", "9", "10") == samples.classes
    assert [0, 0, 2, 2, 1, 1] == samples.labels.tolist()  # the rows by path, the classes by value


def test_ids_and_fingerprint_survive_a_new_name_of_the_root(tmp_path):
    class_folders(tmp_path / "before")
    before = open_data(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    after = open_data(str(tmp_path / "after"))
    assert before.sample_id == after.sample_id
    assert before.fingerprint == after.fingerprint


def test_images_at_any_depth_belong_to_the_first_folder(tmp_path):
    for seed, path in enumerate(["a/x/1.png", "a/2.png", "b/x/y/3.png", "b/x/4.png"]):
        write(tmp_path / path, picture(seed))
    samples = open_data(tmp_path)
    assert ["a/2.png", "a/x/1.png", "b/x/4.png", "b/x/y/3.png"] == samples.paths.to_pylist()
    assert [0, 0, 1, 1] == samples.labels.tolist()


def test_hidden_files_and_other_files_are_counted(tmp_path):
    class_folders(tmp_path)
    for name in (".DS_Store", "cat/._1.png", "cat/Thumbs.db", "README", "dog/a.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git" / "x.png", picture(0))
    samples = open_data(tmp_path)
    assert 6 == len(samples)
    assert (
        "3 files that are no images passed over (no suffix, .db, .txt).",
        "2 hidden files passed over.",
    ) == samples.notes


def test_images_outside_the_class_folders_are_left_out_aloud(tmp_path):
    class_folders(tmp_path)
    write(tmp_path / "overview.png", picture(9, 50, 50))
    samples = open_data(tmp_path)
    assert 6 == len(samples)
    assert ("1 image outside the class folders left out.",) == samples.notes


def test_a_folder_of_loose_images_says_what_is_expected(tmp_path):
    for seed in range(3):
        write(tmp_path / f"{seed}.png", picture(seed))
    with pytest.raises(DataError, match="holds 3 images, but no folder for each class") as caught:
        open_data(tmp_path)
    assert "<class>/…" in caught.value.fix
    assert "metadata.csv" in caught.value.fix


def test_one_class_folder_is_no_classification(tmp_path):
    class_folders(tmp_path, ["cat"])
    with pytest.raises(LabelError, match=r'The folder .* holds one class only: "cat"'):
        open_data(tmp_path)


def test_an_empty_folder_names_both_things_it_lacks(tmp_path):
    with pytest.raises(DataError, match="no Parquet files and no images"):
        open_data(tmp_path)


def test_a_lone_train_folder_is_looked_into(tmp_path):
    paths = class_folders(tmp_path / "train")
    samples = open_data(tmp_path)
    assert ("cat", "dog") == samples.classes
    assert [f"train/{path}" for path in paths] == samples.paths.to_pylist()


def test_folders_of_several_splits_are_refused(tmp_path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "Test")
    with pytest.raises(DataError, match='holds several splits: "Test", "train"'):
        open_data(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    class_folders(tmp_path, ("bus", "train"))
    assert ("bus", "train") == open_data(tmp_path).classes


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_name_the_labels_beside_the_files(tmp_path, kind):
    for seed in range(6):
        write(tmp_path / "images" / f"{seed}.png", picture(seed))
    rows = pa.table(
        {
            "file_name": [f"./images/{seed}.png" for seed in (5, 3, 1, 0, 2)],
            "label": ["dog", "cat", None, "cat", "dog"],
            "person": ["p", "q", "p", "q", "q"],
        }
    )
    if kind == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(rows, tmp_path / "metadata.csv")
    elif kind == "jsonl":
        lines = [json.dumps(row) for row in rows.to_pylist()]
        (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    else:
        pq.write_table(rows, tmp_path / "metadata.parquet")
    samples = open_data(tmp_path, group="person")
    assert [1, 0, -1, 0, 1] == samples.labels.tolist()
    assert [f"images/{seed}.png" for seed in (5, 3, 1, 0, 2)] == samples.sample_id.to_pylist()
    np.testing.assert_array_equal(picture(3), samples.inputs[1])
    assert samples.groups[0] == samples.groups[2] != samples.groups[1]
    assert "label" == samples.encoding.label
    assert any("1 image that metadata" in note for note in samples.notes)
    assert any("1 row of 5 without a label" in note for note in samples.notes)


def metadata(root, text, images=4):
    for seed in range(images):
        write(root / f"{seed}.png", picture(seed))
    (root / "metadata.csv").write_text(text)
    return root


def test_a_file_that_is_missing_is_set_aside(tmp_path):
    rows = "".join(f"{row}.png,{row % 2}\n" for row in range(21))
    samples = open_data(metadata(tmp_path, f"path,label\n{rows}", 20))
    assert ["20.png"] == samples.skipped["path"].to_pylist()
    assert ["No such file or directory"] == samples.skipped["error"].to_pylist()
    assert 20 == len(samples)


@pytest.mark.parametrize("path", ["../0.png", "/etc/0.png", "a/../../0.png", "C:/0.png"])
def test_metadata_do_not_lead_out_of_the_folder(tmp_path, path):
    with pytest.raises(DataError, match=r"metadata.csv, row 1 .*does not lie in"):
        open_data(metadata(tmp_path, f"path,label\n0.png,1\n{path},0\n"))


def test_metadata_without_names_of_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no column that names the files") as caught:
        open_data(metadata(tmp_path, "image_id,label\n0,1\n"))
    assert '"file_name"' in caught.value.fix


def test_metadata_without_a_usual_label_ask_for_it(tmp_path):
    folder = metadata(tmp_path, "path,kind\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    with pytest.raises(DataError, match="Which column holds the labels"):
        open_data(folder)
    assert ("a", "b") == open_data(folder, label="kind").classes
    assert 4 == len(open_data(folder, labelled=False))


def test_metadata_of_names_alone_lack_labels(tmp_path):
    folder = metadata(tmp_path, "file_name\n0.png\n1.png\n2.png\n3.png\n")
    with pytest.raises(DataError, match="Which column holds the labels"):
        open_data(folder)
    assert 4 == len(open_data(folder, labelled=False))


def test_a_side_of_no_pixels_is_refused(tmp_path):
    class_folders(tmp_path)
    with pytest.raises(ParameterError, match="longest_side must be 1 or more, got 0"):
        open_data(tmp_path, longest_side=0)


def test_broken_files_are_set_aside_by_name(tmp_path):
    class_folders(tmp_path, each=11)
    (tmp_path / "cat" / "2.png").write_bytes(b"")
    whole = (tmp_path / "dog" / "0.png").read_bytes()
    (tmp_path / "dog" / "5.png").write_bytes(whole[: len(whole) // 2])
    samples = open_data(tmp_path)
    assert ["cat/2.png", "dog/5.png"] == samples.skipped["path"].to_pylist()
    assert "not an image" in samples.skipped["error"][0].as_py()
    assert 20 == len(samples)
    assert samples.paths == samples.sample_id


def test_mostly_broken_files_are_fatal_and_named(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "dog" / "1.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r'1 image of 6 .* the first "dog/1.png": not an image'):
        open_data(tmp_path)


def test_any_folder_of_images_can_be_predicted(tmp_path):
    class_folders(tmp_path / "train")
    trained = open_data(tmp_path / "train")
    for seed, path in enumerate(["0.png", "deep/er/1.jpg", "2.png"]):
        write(tmp_path / "new" / path, picture(seed))
    new = open_data(
        tmp_path / "new", encoding=trained.encoding, classes=trained.classes, labelled=False
    )
    assert ["0.png", "2.png", "deep/er/1.jpg"] == new.sample_id.to_pylist()
    assert [-1] * 3 == new.labels.tolist()
    assert 0 == len(new.conflicts)


def test_one_picture_can_be_predicted_and_not_trained_on(tmp_path):
    class_folders(tmp_path / "train")
    trained = open_data(tmp_path / "train")
    path = tmp_path / "one.PNG"
    write(path, picture(3), format="PNG")
    new = open_data(path, encoding=trained.encoding, classes=trained.classes, labelled=False)
    np.testing.assert_array_equal(picture(3)[None], new.inputs)
    assert ["one.PNG"] == new.sample_id.to_pylist()
    with pytest.raises(DataError, match="is one image"):
        open_data(path)


def test_test_folders_are_read_like_the_training_folder(tmp_path):
    class_folders(tmp_path / "train")
    trained = open_data(tmp_path / "train")
    write(tmp_path / "test" / "dog" / "0.png", picture(5, 9, 9)[..., 0])
    tested = open_data(tmp_path / "test", encoding=trained.encoding, classes=trained.classes)
    assert [1] == tested.labels.tolist()
    assert (1, 6, 4, 3) == tested.inputs.shape
    write(tmp_path / "test" / "wolf" / "0.png", picture(5))
    with pytest.raises(LabelError, match='class "wolf"'):
        open_data(tmp_path / "test", encoding=trained.encoding, classes=trained.classes)


def test_folders_of_images_do_not_fit_a_model_of_features(tmp_path):
    class_folders(tmp_path)
    table = open_data(pa.table({"a": [1, 2, 3, 4], "label": list("xyxy")}))
    with pytest.raises(DataError, match="the model was trained on features"):
        open_data(tmp_path, encoding=table.encoding, labelled=False)


def test_links_are_followed_and_never_in_a_circle(tmp_path):
    class_folders(tmp_path / "data")
    shutil.move(tmp_path / "data" / "dog", tmp_path / "elsewhere")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data" / "cat")
    (tmp_path / "elsewhere" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = list_images(tmp_path / "data").paths.to_pylist()
    assert {"cat/0.png", "dog/0.png", "dog/back/0.png", "dog/broken.png"} <= set(found)
    assert 10 == len(found)


def test_names_that_are_no_text_are_left_out_aloud(tmp_path):
    class_folders(tmp_path)
    try:
        shutil.copy(tmp_path / "cat/0.png", os.fsencode(tmp_path) + b"/cat/\xff.png")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    samples = open_data(tmp_path)
    assert 6 == len(samples)
    assert any("1 image whose paths are not UTF-8 left out" in note for note in samples.notes)
    (tmp_path / "cow").mkdir()
    shutil.copy(tmp_path / "cat/0.png", tmp_path / "cow")
    os.rename(os.fsencode(tmp_path / "cow"), os.fsencode(tmp_path) + b"/\xff")  # noqa: PTH104
    assert ("cat", "dog") == open_data(tmp_path).classes
    notes = open_data(tmp_path).notes
    assert any("2 images whose paths are not UTF-8 left out" in note for note in notes)


def test_identical_files_of_two_classes_are_reported(tmp_path):
    class_folders(tmp_path)
    shutil.copy(tmp_path / "cat/1.png", tmp_path / "dog/9.png")
    samples = open_data(tmp_path)
    first = {
        "sample_id": "cat/1.png",
        "path": "cat/1.png",
        "given_label": "cat",
        "duplicate_of": "dog/9.png",
        "other_label": "dog",
    }
    assert [first, "dog/9.png"] == [
        samples.conflicts.to_pylist()[0],
        samples.conflicts["sample_id"][1].as_py(),
    ]
    assert any("2 samples of 7 equal another one" in note for note in samples.notes)


def test_parquet_beside_a_stray_picture_is_still_a_table(tmp_path):
    pq.write_table(pa.table({"a": [1, 2, 3, 4], "label": list("xyxy")}), tmp_path / "0.parquet")
    write(tmp_path / "plot.png", picture(0))
    assert "features" == open_data(tmp_path).kind


def test_paths_and_labels_may_be_given_as_lists(tmp_path):
    paths = class_folders(tmp_path)
    files = [tmp_path / path for path in paths]
    samples = open_data((files, ["a", "b"] * 3))
    assert [0, 1] * 3 == samples.labels.tolist()
    assert [str(file) for file in files] == samples.paths.to_pylist()
    as_texts = open_data(([str(file) for file in files], ["a", "b"] * 3))
    assert samples.fingerprint == as_texts.fingerprint
    with pytest.raises(DataError, match="no labels: the images came alone"):
        open_data(files)
    assert 6 == len(open_data(files, labelled=False))


def test_nothing_is_written_but_to_the_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("thresher.data.images.IN_MEMORY_BYTES", 1)
    for name in ("source", "home", "here", "scratch"):
        (tmp_path / name).mkdir()
    class_folders(tmp_path / "source")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    before = everything(tmp_path)
    for folder in (tmp_path / "source").rglob("*/"):
        folder.chmod(0o555)
    try:
        samples = open_data(tmp_path / "source", scratch=tmp_path / "scratch")
    finally:
        for folder in (tmp_path / "source").rglob("*/"):
            folder.chmod(0o755)
    new = everything(tmp_path).keys() - before.keys()
    assert new
    assert all(path.startswith("scratch/") for path in new)
    assert {path: before[path] for path in before} == {
        path: everything(tmp_path)[path] for path in before
    }
    assert 6 == len(samples)


def everything(root):
    """Size and time of change of every file below a folder."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_formats_and_modes_of_all_kinds_are_read_from_files(tmp_path):
    red = np.full((6, 4, 3), [200, 30, 30], np.uint8)
    image = Image.fromarray(red)
    write(tmp_path / "a/cmyk.jpg", image.convert("CMYK"), quality=100)
    write(tmp_path / "a/palette.gif", image.quantize())
    write(tmp_path / "a/first.gif", image, save_all=True, append_images=[Image.new("RGB", (4, 6))])
    write(tmp_path / "b/alpha.webp", image.convert("RGBA"), lossless=True)
    write(tmp_path / "b/plain.bmp", image)
    write(tmp_path / "b/sixteen.png", Image.fromarray(np.full((6, 4), 90 * 257, np.uint16)))
    samples = open_data(tmp_path)
    assert 0 == len(samples.skipped)
    by_name = dict(zip(samples.paths.to_pylist(), samples.inputs, strict=True))
    for name, pixels in by_name.items():
        expected = 90 if "sixteen" in name else red
        np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=4)


def test_links_that_lead_to_themselves_and_pipes_are_unreadable_images(tmp_path):
    class_folders(tmp_path, each=10)
    (tmp_path / "cat" / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    samples = open_data(tmp_path)
    assert 20 == len(samples)
    assert ["cat/self.png", "dog/pipe.png"] == samples.skipped["path"].to_pylist()
    said = '2 images of 22 left out as unreadable; the first "cat/self.png": Too many levels'
    assert any(note.startswith(said) for note in samples.notes)


def test_images_that_a_table_names_and_that_are_lacking_are_told_as_lacking(tmp_path):
    class_folders(tmp_path)
    names = ["cat/0.png", "dog/0.png", "cat/9.png", ""]
    rows = "".join(f"{name},{label}\n" for name, label in zip(names, "xyxy", strict=True))
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + rows)
    with pytest.raises(DataError, match=r'2 images of 4 .* "cat/9\.png": No such file') as caught:
        open_data(tmp_path)
    assert "Check that they are there" in caught.value.fix


def test_a_table_whose_names_of_files_are_no_texts_is_refused(tmp_path):
    class_folders(tmp_path)
    row = {"file_name": ["cat/0.png"], "label": "x"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match='"file_name" holds values of type list'):
        open_data(tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_refused_in_our_words(tmp_path, monkeypatch):
    def refuse(path, **settings):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_file", refuse)
    with pytest.raises(DataError, match="cannot be read: permission denied"):
        open_data(tmp_path)


def test_a_class_of_which_one_readable_image_is_left_is_told_as_such(tmp_path):
    class_folders(tmp_path, each=10)
    write(tmp_path / "rare" / "0.png", picture(99))
    (tmp_path / "rare" / "1.png").write_bytes(b"cut")
    with pytest.raises(LabelError, match=r'\(unreadable images aside\): the class "rare" has one'):
        open_data(tmp_path)
