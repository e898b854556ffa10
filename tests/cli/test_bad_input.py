"""Bad input: one line of cause, one line of fix, exit 2, no traceback, nothing left behind."""

import errno
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

import shipped


def table(folder, **columns):
    """data.csv: 60 rows of two numbers and a label of three classes, or with columns changed."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 2)), columns=["height", "width"])
    frame = frame.assign(**({"label": np.repeat(["a", "b", "c"], 20)} | columns))
    frame.to_csv(folder / "data.csv", index=False)
    return frame


def empty(folder):
    (folder / "data.csv").write_bytes(b"")


def header_only(folder):
    (folder / "data.csv").write_text("height,width,label\n")


def binary_rubbish(folder):
    (folder / "data.csv").write_bytes(np.random.default_rng(0).bytes(3000))


def ragged(folder):
    table(folder)
    with (folder / "data.csv").open("a") as file:
        file.write("1.0,2.0,a,surplus\n")


def one_class(folder):
    table(folder, label="a")


def one_sample_of_a_class(folder):
    table(folder, label=["rare", *["a", "b"] * 29, "a"])


def continuous(folder):
    table(folder, label=np.linspace(0.25, 3.1, 60))


def infinite(folder):
    table(folder, height=[*range(59), np.inf])


def all_missing(folder):
    table(folder, width=None)


def no_labels(folder):
    table(folder, label=None)


def duplicate_columns(folder):
    (folder / "data.csv").write_text("height,height,label\n1,2,a\n1,2,b\n")


def nothing(folder):
    pass


FILES = [
    (empty, "data.csv is empty (0 bytes).", "Name another file."),
    (header_only, "data.csv holds column names but no rows.", "Add a row"),
    (binary_rubbish, "data.csv is not", "UTF-8"),
    (ragged, "data.csv, line 62: expected 3 fields", "found 4"),
    (one_class, 'one class only: "a"', "needs two or more classes"),
    (one_sample_of_a_class, 'the class "rare" has one sample only', "Merge it"),
    (continuous, "looks continuous", "0.25"),
    (infinite, 'Column "height" holds an infinite number', "row 59"),
    (all_missing, 'Column "width" is empty', "Remove the column"),
    (no_labels, "holds no label", "Name another column"),
    (duplicate_columns, 'more than one column named "height"', "its own name"),
    (nothing, "data.csv does not exist", "no data file"),
]


@pytest.fixture
def refused(call, tmp_path):
    """Run a command that must fail, and give what it says: cause and fix."""

    def run(*arguments):
        before = shipped.contents(tmp_path)
        done = call(*arguments)
        assert done.code == 2
        assert done.out == ""
        assert len(done.complaint) == 2, done.err
        cause, fix = done.complaint
        assert cause.startswith("thresher: ")
        assert fix.startswith(" " * 10)
        assert fix.strip()
        assert before == shipped.contents(tmp_path)
        return f"{cause} {fix}"

    return run


@pytest.mark.parametrize(
    ("write", "cause", "more"), FILES, ids=[each.__name__ for each, _, _ in FILES]
)
def test_unusable_data_are_refused(write, cause, more, refused, tmp_path):
    """With the file, the column or the line in the message."""
    write(tmp_path)
    said = refused("fit", "data.csv", "--json")
    assert cause in said
    assert more in said


SETTINGS = [
    (["--label", "lable"], 'There is no column "lable"', 'Did you mean "label"?'),
    (["--method", "selfy"], 'There is no method "selfy"', 'Did you mean "selfie"?'),
    (["--method", "zzz"], 'There is no method "zzz"', "Allowed: active-bias, active-passive, auto"),
    (["--noise-rate", "1.2"], "noise_rate must be in [0, 1), got 1.2", "share of wrong labels"),
    (["--noise-rate", "-0.1"], "noise_rate must be in [0, 1), got -0.1", "share of wrong"),
    (["--noise-rate", "nan"], "noise_rate must be in [0, 1), got nan", "share of wrong"),
    (["--noise-rate", "beta"], "a number in [0, 1), auto, or one of settled, confident,", "beta-"),
    (["--epochs", "0"], "epochs must be at least 1, got 0", "Leave it out"),
    (["--limit", "1"], "limit must be at least 2, got 1", "Leave it out"),
    (["--batch-size", "1"], "batch_size must be at least 2, got 1", "Leave it out"),
    (["--learning-rate", "0"], "learning_rate must be positive, got 0", "Leave it out"),
    (["--weight-decay", "-1"], "weight_decay must be at least 0, got -1", "Leave it out"),
    (["--seed", "-1"], "seed must be in [0, 2^63), got -1", "Leave it out"),
    (["--seed", str(2**63)], f"seed must be in [0, 2^63), got {2**63}", "Leave it out"),
    (["--device", "warp"], 'The device "warp" cannot be used', "--device cpu"),
    (["--device", "meta"], 'The device "meta" cannot be used', "--device cpu"),
    (["--augment", "flop"], 'got "flop"', 'Did you mean "flip"?'),
    (["--augment", "flip"], "needs images, the data are features", "auto"),
    (["--model", "mlq"], 'There is no model "mlq"', 'Did you mean "mlp"?'),
    (["--model", "cnn"], 'The model "cnn" needs images', 'Use the model "mlp"'),
    (["--model", "nowhere:net"], 'The module "nowhere" of the model cannot be imported', ""),
    (["--limit", "2"], "A sample of 2 rows does not hold every class", "there are 3 classes"),
    (["--learning-rate", "1e30"], "The loss became nan", "Lower the learning rate"),
    (["--image", "height"], "expected encoded images", "PNG"),
    (["--config", "nowhere.toml"], "nowhere.toml cannot be read: No such file", "run.toml"),
    (["--out", "data.csv"], "data.csv exists and is not a run.", "Choose another --out."),
    (["--out", "data.csv/run"], "Cannot write data.csv/run: Not a directory.", "--out"),
    (["--out", "."], ". exists and is not a run.", "Choose another --out."),
    (["--out", "caf\udce9"], "is not UTF-8 text", "Choose another --out."),
]


@pytest.mark.parametrize(("options", "cause", "fix"), SETTINGS, ids=lambda each: str(each)[:40])
def test_unusable_settings_are_refused(options, cause, fix, refused, tmp_path):
    """With what was received and what is allowed."""
    table(tmp_path)
    said = refused(
        "fit", "data.csv", *(["--out", "run"] if "--out" not in options else []), *options
    )
    assert cause in said
    assert fix in said


TEST_SETS = [
    ({"label": ["d", *"ab" * 29, "c"]}, 'holds the class "d"', "the training data lack"),
    ({"label": None}, "hold no label", "leave out --test"),
    ({"width": "wide"}, 'Column "width" holds the text "wide"', "expected a number"),
]


@pytest.mark.parametrize(("columns", "cause", "more"), TEST_SETS)
def test_unusable_test_data_are_refused_before_training(columns, cause, more, refused, tmp_path):
    """A class that training lacks, no label at all, text where numbers were."""
    table(tmp_path, **columns)
    (tmp_path / "data.csv").rename(tmp_path / "test.csv")
    table(tmp_path)
    said = refused("fit", "data.csv", "--test", "test.csv", "--out", "run")
    assert cause in said
    assert more in said


def test_test_data_without_a_column_are_refused(refused, tmp_path):
    """The nearest column is named."""
    frame = table(tmp_path)
    frame.rename(columns={"width": "widht"}).to_csv(tmp_path / "test.csv", index=False)
    said = refused("fit", "data.csv", "--test", "test.csv", "--out", "run")
    assert 'Column "width" is lacking' in said
    assert 'Did you mean "widht"?' in said


CONFIGS = [
    ("[fit]\nepcohs = 3\n", 'There is no setting "epcohs"', 'Did you mean "epochs"?'),
    ('[fit]\nepochs = "3"\n', "epochs must be a whole number, got '3'", "settings file"),
    ("[fit]\nepochs = true\n", "epochs must be a whole number, got True", "settings file"),
    ("[fit]\nmethod = 3\n", "method must be a text, got 3", "settings file"),
    ("[fit]\nepochs = 0\n", "epochs must be at least 1, got 0", "Leave it out"),
    ("[fti]\nepochs = 3\n", 'holds "fti", which is no table', 'Did you mean "fit"?'),
    ("epochs = 3\n[fit]\n", 'holds "epochs", which is no table', "Allowed: fit"),
    ("fit = 3\n", "has no table [fit]", "run.toml"),
    ("schema = 1\n", "has no table [fit]", "run.toml"),
    ("[fit\n", "cannot be read", "run.toml"),
]


@pytest.mark.parametrize(("text", "cause", "fix"), CONFIGS)
def test_unusable_settings_files_are_refused(text, cause, fix, refused, tmp_path):
    """A slip in a file is no silent default."""
    table(tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    said = refused("fit", "data.csv", "--config", "mine.toml", "--out", "run")
    assert cause in said
    assert fix in said


def test_a_run_that_is_not_there_cannot_be_resumed(refused):
    """Nor is one begun."""
    said = refused("fit", "--resume", "nowhere")
    assert "nowhere is not a run folder" in said
    assert "--out" in said


def test_resume_takes_no_other_settings(refused, tmp_path):
    """They would not give the numbers the run would have had."""
    said = refused("fit", "--resume", "my run", "--epochs", 3)
    assert "other settings cannot be given" in said
    assert "thresher fit --resume 'my run'" in said


def test_no_data_at_all_are_refused_with_an_example(refused):
    """As the first thing a newcomer types."""
    assert "Example: thresher fit data.csv --label species" in refused("fit")


def test_more_than_a_tenth_of_broken_images_is_fatal(refused, tmp_path):
    """Then the column is not what it seems."""
    images = shipped.image_table()
    images.loc[:24, "image"] = b"no image"
    images.to_parquet(tmp_path / "scans.parquet", index=False)
    said = refused("fit", "scans.parquet", "--out", "run")
    assert "25 images of 200 cannot be decoded, more than a tenth" in said


def test_an_unknown_option_names_the_nearest(call, tmp_path):
    """Exit 2, nothing on standard output."""
    table(tmp_path)
    done = call("fit", "data.csv", "--epoch", 3)
    assert done.code == 2
    assert done.out == ""
    assert "--epochs" in done.err
    assert "Traceback" not in done.err


def test_an_unknown_command_names_the_nearest(call):
    """Exit 2."""
    done = call("fti", "data.csv")
    assert done.code == 2
    assert "'fit'" in done.err


def test_a_folder_without_the_right_to_write_is_refused(refused, tmp_path, monkeypatch):
    """The system's word is passed on."""
    table(tmp_path)
    make = os.mkdir

    def mkdir(path, *arguments, **options):
        if "locked" in os.fspath(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return make(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    said = refused("fit", "data.csv", "--out", "locked/run")
    assert "Cannot write locked/run: Permission denied." in said


def test_a_disk_that_fills_up_at_once_leaves_no_folder(refused, tmp_path, monkeypatch):
    """And not the parent's content changed."""
    table(tmp_path)

    def fsync(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    said = refused("fit", "data.csv", "--epochs", 2, "--out", "run")
    assert "No space left on device" in said
    assert "Free some space" in said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size at tmp_path/disk."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True
        )
        if done.returncode != 0:
            pytest.skip("mounting is not permitted here")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["16k", "100k", "200k"])
def test_a_disk_too_small_for_a_run_is_left_empty(size, small_disk, call, tmp_path):
    """In whatever file the space ends."""
    disk = small_disk(size)
    table(tmp_path)
    done = call("fit", "data.csv", "--epochs", 2, "--out", "disk/run")
    assert done.code == 2
    assert len(done.complaint) == 2
    assert "No space left on device" in done.complaint[0]
    assert list(disk.iterdir()) == []


def test_a_disk_that_fills_up_later_keeps_what_can_be_resumed(small_disk, call, tmp_path):
    """A checkpoint that finds no room stops nothing, results that find none end the run.

    With the command that goes on; and it does, once there is space, with the same numbers.
    """
    disk = small_disk("4m")  # a checkpoint is 3 MiB, the model half of it
    images, labels = shipped.digits(100)
    np.savez(tmp_path / "data.npz", X=images, y=labels)
    done = call("fit", "data.npz", "--epochs", 3, "--out", "disk/run", "--save-every", 1e-9)
    assert done.code == 2
    assert "No space left on device" in done.complaint[0]
    said = [line for line in done.err.splitlines() if "The training goes on" in line]
    assert len(said) == 1
    assert "note: What was trained is kept. Go on with: thresher fit --resume disk/run" in done.err
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    assert call("fit", "--resume", "disk/run").code == 0
    assert call("fit", "data.npz", "--epochs", 3, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "disk/run")
