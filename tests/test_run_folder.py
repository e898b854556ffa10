"""The run folder: nobody's files are lost, two runs never share one, every file is whole."""

import os
import signal
import subprocess
import sys
import threading
import tomllib

import pytest

from thresher.decisions import Decided, DecisionLog
from thresher.errors import RunError
from thresher.run_folder import RunFolder
from thresher.whole_file import whole_file

SETTINGS = {"fit": {"epochs": 3}, "run": {"thresher": "0.1.0", "n": 2, "classes": ["a", "größe"]}}


def finished(path, overwrite=False):
    """A run that has ended."""
    run = RunFolder.create(path, overwrite=overwrite)
    run.write_settings(SETTINGS)
    run.model.mkdir(exist_ok=True)
    (run.model / "model.safetensors").write_bytes(b"weights")
    run.write_summary({"schema": 1, "run": str(path), "n": 2})
    run.finish()
    return run


def begun(path, overwrite=False):
    """A run that was stopped."""
    run = RunFolder.create(path, overwrite=overwrite)
    run.write_settings(SETTINGS)
    return run


def test_a_new_folder_is_made_with_all_above_it(tmp_path):
    """And with the place of what resuming needs."""
    run = RunFolder.create(tmp_path / "a" / "b" / "run")
    assert ["state"] == [each.name for each in run.path.iterdir()]
    assert not run.complete


def test_a_run_is_complete_when_it_has_ended(tmp_path):
    """Not before, and not while something waits to be resumed."""
    run = finished(tmp_path / "run")
    assert run.complete
    assert run.require_complete() is run
    run.state.mkdir()
    assert not run.complete
    with pytest.raises(RunError, match="is not finished") as refused:
        run.require_complete()
    assert refused.value.fix == f"Finish it: thresher fit --resume {run.path}"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["empty", "full", "file", "foreign"])
def test_what_is_no_run_is_never_touched(kind, overwrite, tmp_path):
    """Not even on request: a folder with another program's run.toml is none of ours."""
    place = tmp_path / "run"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
    if kind == "full":
        (place / "thesis.tex").write_text("mine")
    if kind == "foreign":
        (place / "run.toml").write_text("[run]\ncommand = 'mine'\n")
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(RunError, match="exists and is not a run"):
        RunFolder.create(place, overwrite=overwrite)
    assert place.exists()
    assert before == {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}


def test_a_run_is_replaced_on_request_only(tmp_path):
    """The refusal names both ways out."""
    finished(tmp_path / "run")
    with pytest.raises(RunError, match="exists and holds a run") as refused:
        RunFolder.create(tmp_path / "run")
    assert "--out" in refused.value.fix
    assert "--overwrite" in refused.value.fix


def test_a_run_with_decisions_of_people_is_never_replaced(tmp_path):
    """Not before they are undone, or deleted by whoever asks for it."""
    run = finished(tmp_path / "run")
    with DecisionLog(run.decisions) as log:
        log.append([Decided("a", "keep", "a"), Decided("b", "exclude", None)])
    before = run.decisions.read_bytes()
    with pytest.raises(RunError, match="what people decided of 2 samples") as refused:
        RunFolder.create(tmp_path / "run", overwrite=True)
    assert "delete decisions.sqlite" in refused.value.fix
    assert RunFolder.open(tmp_path / "run").complete
    assert before == run.decisions.read_bytes()
    with DecisionLog(run.decisions) as log:
        log.undo()
    assert RunFolder.create(tmp_path / "run", overwrite=True).replaced.exists()


def test_a_run_with_damaged_decisions_is_not_replaced(tmp_path):
    """Nobody knows what they were."""
    run = finished(tmp_path / "run")
    run.decisions.write_bytes(b"torn" * 1000)
    with pytest.raises(RunError, match="cannot be read"):
        RunFolder.create(tmp_path / "run", overwrite=True)
    assert run.complete


def test_the_old_run_waits_until_the_new_one_has_ended(tmp_path):
    """It is gone afterwards."""
    finished(tmp_path / "run")
    new = begun(tmp_path / "run", overwrite=True)
    assert (new.replaced / "model" / "model.safetensors").read_bytes() == b"weights"
    new.finish()
    assert ["run"] == [each.name for each in tmp_path.iterdir()]
    assert not new.model.exists()


def test_the_old_run_comes_back_when_the_new_one_fails(tmp_path):
    """As it was."""
    finished(tmp_path / "run")
    RunFolder.create(tmp_path / "run", overwrite=True).remove()
    assert RunFolder.open(tmp_path / "run").complete
    assert ["run"] == [each.name for each in tmp_path.iterdir()]


def test_of_an_unfinished_run_and_the_one_it_was_to_replace_the_older_is_kept(tmp_path):
    """A run killed while it replaced another must not cost that other."""
    finished(tmp_path / "run")
    begun(tmp_path / "run", overwrite=True)  # and killed
    RunFolder.create(tmp_path / "run", overwrite=True).remove()
    assert RunFolder.open(tmp_path / "run").complete


def test_the_old_run_comes_back_when_no_folder_can_be_made(tmp_path, monkeypatch):
    """The disk is full at the first step."""
    finished(tmp_path / "run")

    def mkdir(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        with pytest.raises(RunError, match=r"Cannot write .*No space left on device"):
            RunFolder.create(tmp_path / "run", overwrite=True)
    assert RunFolder.open(tmp_path / "run").complete


def test_a_folder_half_made_is_removed(tmp_path, monkeypatch):
    """There was space for it and not for what it holds."""
    make = os.mkdir

    def mkdir(path, *arguments, **options):
        if os.fspath(path).endswith("state") and (tmp_path / "run").exists():
            raise OSError(28, "No space left on device")
        return make(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(RunError, match="No space left"):
        RunFolder.create(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("under", ["file", "file/run", "/proc/thresher/run"])
def test_a_place_that_cannot_hold_a_folder_is_refused(under, tmp_path):
    """Under a file, or where the system keeps its own."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError):
        RunFolder.create(tmp_path / under)
    assert ["file"] == [each.name for each in tmp_path.iterdir()]


def test_a_name_that_is_no_text_is_refused_at_once(tmp_path):
    """Arrow could not write there, an hour later."""
    with pytest.raises(RunError, match="is not UTF-8 text"):
        RunFolder.create(tmp_path / "caf\udce9")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_and_stays(tmp_path):
    """A run on another disk is made there, and replaced there."""
    (tmp_path / "big disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "big disk" / "run")
    finished(tmp_path / "run")
    finished(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").is_symlink()
    assert RunFolder.open(tmp_path / "big disk" / "run").complete
    assert ["run"] == [each.name for each in (tmp_path / "big disk").iterdir()]
    assert ["big disk", "run"] == sorted(each.name for each in tmp_path.iterdir())


def test_the_working_directory_is_a_run_as_any_other(tmp_path, monkeypatch):
    """`thresher audit .`"""
    finished(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    assert RunFolder.open(".").complete
    assert RunFolder(".").replaced == tmp_path / ".run.replaced"


def test_of_many_that_make_a_folder_at_once_one_succeeds(tmp_path):
    """The others are refused, each time."""
    for attempt in range(20):
        barrier = threading.Barrier(8)
        made, refused = [], []

        def make(place=tmp_path / str(attempt), barrier=barrier, made=made, refused=refused):
            barrier.wait()
            try:
                made.append(RunFolder.create(place))
            except RunError as error:
                refused.append(error)

        threads = [threading.Thread(target=make) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert (1, 7) == (len(made), len(refused))


def test_a_run_in_use_is_neither_entered_nor_replaced(tmp_path):
    """Until it is left."""
    run = begun(tmp_path / "run")
    with run.occupied():
        with (
            pytest.raises(RunError, match="is in use: another process"),
            RunFolder(run.path).occupied(),
        ):
            pass
        with pytest.raises(RunError, match="is in use: another process"):
            RunFolder.create(run.path, overwrite=True)
        assert run.settings.is_file()
    with RunFolder(run.path).occupied():
        pass
    RunFolder.create(run.path, overwrite=True)


def test_a_run_is_left_by_an_error(tmp_path):
    """The next one may enter."""
    run = begun(tmp_path / "run")
    with pytest.raises(ValueError, match="ours"), run.occupied():
        raise ValueError("ours")
    with run.occupied():
        pass


def test_a_run_is_left_by_a_process_that_is_killed(tmp_path):
    """Nothing has to be cleared away by hand."""
    run = begun(tmp_path / "run")
    code = (
        "import sys, time; from thresher.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).occupied(): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(RunError, match="in use"), run.occupied():
        pass
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with run.occupied():
        pass


def test_a_folder_without_settings_is_no_run(tmp_path):
    """The message says what is lacking, and which folder is meant."""
    with pytest.raises(RunError, match=r"is not a run folder: it has no run\.toml") as refused:
        RunFolder.open(tmp_path)
    assert "--out" in refused.value.fix


def test_settings_come_back_as_they_were_written(tmp_path):
    """Any class name, whatever the locale; None has no word in TOML and is left out."""
    run = RunFolder.create(tmp_path / "run")
    names = ["größe", "猫", '"quoted"', "two\nlines", "<b>", "", "\x1b[31m", "'", "\\"]
    run.write_settings({"fit": {"epochs": 3, "limit": None}, "run": {"classes": names}})
    found = run.read_settings()
    assert found == {"schema": 1, "fit": {"epochs": 3}, "run": {"classes": names}}
    assert tomllib.loads(run.settings.read_bytes().decode("utf-8")) == found


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[fit", "cannot be read"),
        ("schema = 2\n[fit]\n[run]\n", "has schema 2; this release reads 1"),
        ("[fit]\n[run]\n", "has schema None"),
        ("schema = 1\n[fit]\n", r"has no table \[run\]"),
        ("schema = 1\nfit = 3\n[run]\n", r"has no table \[fit\]"),
    ],
)
def test_settings_that_are_not_ours_are_refused(text, cause, tmp_path):
    """Torn, later, or incomplete."""
    run = RunFolder.create(tmp_path / "run")
    run.settings.write_text(text)
    with pytest.raises(RunError, match=cause):
        run.read_settings()


def test_the_summary_has_the_name_that_the_folder_has_now(tmp_path):
    """It is not written down, so that the folder can be moved."""
    run = finished(tmp_path / "run")
    assert {"schema": 1, "run": str(run.path), "n": 2} == run.read_summary()
    assert "run" not in run.summary.read_text()
    moved = RunFolder(run.path.rename(tmp_path / "moved"))
    assert str(tmp_path / "moved") == moved.read_summary()["run"]


@pytest.mark.parametrize("content", [None, "", "{", "\xff"])
def test_a_torn_summary_is_refused(content, tmp_path):
    """Or one that is missing."""
    run = finished(tmp_path / "run")
    run.summary.unlink()
    if content is not None:
        run.summary.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match="cannot be read"):
        run.read_summary()


def test_metrics_are_a_line_for_every_epoch(tmp_path):
    """Each with its schema."""
    run = RunFolder.create(tmp_path / "run")
    run.write_metrics([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert len(run.metrics.read_text().splitlines()) == 2
    assert run.read_metrics() == [
        {"schema": 1, "epoch": 1, "loss": 0.5},
        {"schema": 1, "epoch": 2, "loss": 0.25},
    ]


def test_the_command_can_be_pasted_into_a_shell():
    """Blanks and quotes included."""
    assert RunFolder("runs/plain").command == "thresher fit --resume runs/plain"
    assert RunFolder("it's mine").command == """thresher fit --resume 'it'"'"'s mine'"""


# ---------------------------------------------------------------------- whole files
def test_a_file_appears_when_it_is_whole(tmp_path):
    """Until then the old one stands."""
    target = tmp_path / "file"
    target.write_text("old")
    with whole_file(target) as aside:
        aside.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert ["file"] == [each.name for each in tmp_path.iterdir()]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_file_that_is_not_finished_leaves_the_old_one(error, tmp_path):
    """And nothing beside it."""
    target = tmp_path / "file"
    target.write_text("old")

    def write_half():
        with whole_file(target) as aside:
            aside.write_text("ne")
            raise error

    with pytest.raises(RunError if error is OSError else error):
        write_half()
    assert target.read_text() == "old"
    assert ["file"] == [each.name for each in tmp_path.iterdir()]


def test_what_a_killed_process_left_is_written_over(tmp_path):
    """The name beside the file is always the same."""
    (tmp_path / ".file.partial").write_text("of a killed process, and longer")
    with whole_file(tmp_path / "file") as aside:
        aside.write_text("new")
    assert {"file": "new"} == {each.name: each.read_text() for each in tmp_path.iterdir()}


def test_the_systems_reason_is_given(tmp_path):
    """In its words, without the name beside the file, which is ours."""
    with (
        pytest.raises(RunError, match=r"/nowhere/file: No such file or directory\."),
        whole_file(tmp_path / "nowhere" / "file") as aside,
    ):
        aside.write_text("new")
