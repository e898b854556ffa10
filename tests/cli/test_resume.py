"""Stopped runs go on: after Ctrl+C, after a kill, after whatever happened to their files."""

import json
import signal

import numpy as np
import pytest

import shipped
import thresher.auditing
import thresher.epochs
import thresher.run_data
from thresher.training.loop import Training

pytestmark = pytest.mark.usefixtures("plain_signals")


@pytest.fixture
def iris_csv(tmp_path):
    shipped.iris().to_csv(tmp_path / "iris.csv", index=False)
    return ["iris.csv", "--label", "species"]


@pytest.fixture
def stopped(call, iris_csv):
    """Stop a training of six epochs on iris while an epoch is reported."""

    def stop(epoch, *options, error=KeyboardInterrupt):
        def told(self, number, epochs, metrics):
            if number == epoch:
                raise error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("thresher.cli.output.Narrator.epoch", told)
            return call("fit", *iris_csv, "--epochs", 6, "--out", "run", *options)

    return stop


def test_ctrl_c_ends_with_130_and_the_command_that_goes_on(stopped, tmp_path):
    """Nothing on standard output; the checkpoint is there."""
    done = stopped(4)
    assert done.code == 130
    assert done.out == ""
    assert "note: Interrupted. Go on with: thresher fit --resume run" in done.err.splitlines()
    assert {"run.toml", "state", "state/checkpoint.safetensors"} == set(shipped.contents("run"))


def test_the_command_that_goes_on_can_be_pasted(call, monkeypatch, iris_csv):
    """A folder's name may hold blanks and quotes."""

    def told(self, number, epochs, metrics):
        raise KeyboardInterrupt

    monkeypatch.setattr("thresher.cli.output.Narrator.epoch", told)
    done = call("fit", *iris_csv, "--out", "it's a run")
    assert """thresher fit --resume 'it'"'"'s a run'""" in done.err


@pytest.mark.parametrize(
    ("method", "epoch"),
    [
        ("auto", 2),
        ("auto", 6),
        ("selfie", 4),
        ("co-teaching", 5),
        ("dividemix", 4),
        ("pes", 3),  # while a part of the network is frozen
    ],
)
def test_a_resumed_run_comes_to_the_numbers_of_an_uninterrupted_one(
    method, epoch, stopped, call, iris_csv
):
    """Weights, history, metrics and audit, bit for bit."""
    options = ["--method", method, "--test", "iris.csv"]
    assert stopped(epoch, *options).code == 130
    resumed = call("fit", "--resume", "run", "--json")
    assert resumed.code == 0
    assert f"Going on after epoch {epoch} of 6." in resumed.err
    whole = call("fit", *iris_csv, "--epochs", 6, *options, "--out", "whole", "--json")
    assert whole.code == 0, whole.err
    shipped.assert_same_run("whole", "run")
    differing = {"run", "seconds", "peak_mib"}
    first, second = (json.loads(each.out) for each in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in first.keys() - differing)
    assert set(shipped.contents("whole")) == set(shipped.contents("run"))


def test_a_resumed_run_of_images_comes_to_the_same_numbers(call, tmp_path):
    """Augmentation and the order of rows belong to the epoch, not to the process."""
    images, labels = shipped.digits(200)
    np.savez(tmp_path / "digits.npz", X=images, y=labels)
    command = ["fit", "digits.npz", "--epochs", 4, "--augment", "crop,flip"]

    def told(self, number, epochs, metrics):
        if number == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thresher.cli.output.Narrator.epoch", told)
        assert call(*command, "--out", "run").code == 130
    assert call("fit", "--resume", "run").code == 0
    assert call(*command, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_a_run_may_be_stopped_again_and_again(stopped, call, iris_csv):
    """Each time it goes on from where it was."""
    assert stopped(2).code == 130
    for epoch in (3, 4, 5):

        def told(self, number, epochs, metrics, last=epoch):
            if number == last:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("thresher.cli.output.Narrator.epoch", told)
            assert call("fit", "--resume", "run").code == 130
    assert call("fit", "--resume", "run").code == 0
    assert call("fit", *iris_csv, "--epochs", 6, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_a_run_stopped_while_the_audit_is_written_goes_on(call, monkeypatch, iris_csv):
    """The half that was written is written again."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresher.auditing, "write_report", stop)
        assert call("fit", *iris_csv, "--epochs", 3, "--out", "run").code == 130
    unfinished = call("audit", "run")
    assert unfinished.code == 2
    assert unfinished.complaint == [
        "thresher: The run in run is not finished.",
        "          Finish it: thresher fit --resume run",
    ]
    assert call("fit", "--resume", "run").code == 0
    assert call("fit", *iris_csv, "--epochs", 3, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


@pytest.fixture
def signalled(call, iris_csv):
    """Send signals to a training of three epochs of ten steps in the middle of a step."""

    def send(*signals, step, resume=False):
        taken, take = [], Training._step

        def step_with_signals(self, *arguments):
            taken.append(arguments)
            if len(taken) == step:
                for each in signals:
                    signal.raise_signal(each)
            return take(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "_step", step_with_signals)
            if resume:
                return call("fit", "--resume", "run")
            return call("fit", *iris_csv, "--epochs", 3, "--out", "run")

    return send


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_after_the_step_and_saves_it(number, code, signalled, call, iris_csv):
    """In the second epoch, and again in what is left of it; what was there before is put back."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    done = signalled(number, step=13)
    assert done.code == code
    assert "note: Interrupted. Go on with: thresher fit --resume run" in done.err.splitlines()
    again = signalled(number, step=4, resume=True)
    assert again.code == code
    assert "Going on after batch 3 of 10 in epoch 2 of 3." in again.err
    assert before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    resumed = call("fit", "--resume", "run")
    assert "Going on after batch 7 of 10 in epoch 2 of 3." in resumed.err
    assert resumed.code == 0
    assert call("fit", *iris_csv, "--epochs", 3, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGINT, signal.SIGTERM), 143),
        ((signal.SIGTERM, signal.SIGINT), 143),
    ],
)
def test_a_second_signal_leaves_at_once(signals, code, signalled, call, iris_csv):
    """Within the step, where nothing can be saved; resuming starts over, and says so."""
    assert signalled(*signals, step=13).code == code
    resumed = call("fit", "--resume", "run")
    assert "The run was stopped before its first checkpoint; it starts over." in resumed.err
    assert resumed.code == 0
    assert call("fit", *iris_csv, "--epochs", 3, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_a_signal_while_the_test_data_are_measured_does_not_wait(call, iris_csv):
    """No step is taken meanwhile: all that the epoch was is saved."""
    measure = thresher.epochs.accuracy_on_test
    options = [*iris_csv, "--epochs", 3, "--test", "iris.csv"]

    def measured(job, network):
        if job.training.position["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)
        return measure(job, network)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresher.epochs, "accuracy_on_test", measured)
        assert call("fit", *options, "--out", "run").code == 130
    resumed = call("fit", "--resume", "run")
    assert "Going on after batch 10 of 10 in epoch 2 of 3." in resumed.err
    assert call("fit", *options, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_ctrl_c_before_anything_is_written_leaves_nothing(call, monkeypatch, iris_csv, tmp_path):
    """Exit 130, and no command to go on."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(thresher.run_data, "open_data", stop)
    done = call("fit", *iris_csv, "--out", "run")
    assert done.code == 130
    assert "Interrupted" in done.err
    assert "--resume" not in done.err
    assert {"iris.csv"} == set(shipped.contents(tmp_path))


def test_a_finished_run_is_said_to_be_finished(call, iris_csv):
    """Its result is printed again, and nothing is written."""
    first = call("fit", *iris_csv, "--epochs", 2, "--out", "run", "--json")
    before = shipped.contents("run")
    again = call("fit", "--resume", "run", "--json")
    assert again.code == 0
    assert "The run in run is complete; there is nothing to resume." in again.err
    assert json.loads(first.out) == json.loads(again.out)
    assert before == shipped.contents("run")


def test_other_data_than_the_run_began_with_are_refused(stopped, call, tmp_path):
    """One changed number is enough; the run stays as it is."""
    stopped(3)
    before = shipped.contents("run")
    frame = shipped.iris()
    frame.iloc[7, 0] += 0.1
    frame.to_csv(tmp_path / "iris.csv", index=False)
    done = call("fit", "--resume", "run")
    assert done.code == 2
    assert done.complaint == [
        "thresher: The data in iris.csv are not those that the run was started with.",
        "          Put the original data back, or start a new run.",
    ]
    assert before == shipped.contents("run")


def test_other_test_data_than_the_run_began_with_are_refused(call, tmp_path, iris_csv):
    """Else the accuracies of one run would come from two test sets."""
    frame = shipped.iris()
    frame[:30].to_csv(tmp_path / "test.csv", index=False)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresher.auditing, "write_report", stop)
        options = [*iris_csv, "--test", "test.csv", "--epochs", 3, "--out", "run"]
        assert call("fit", *options).code == 130
    frame[30:60].to_csv(tmp_path / "test.csv", index=False)
    done = call("fit", "--resume", "run")
    assert done.code == 2
    assert "The test data are not those that the run was started with." in done.complaint[0]
    frame[:30].to_csv(tmp_path / "test.csv", index=False)
    assert call("fit", "--resume", "run").code == 0


def test_data_that_moved_are_named_anew(stopped, call, tmp_path, iris_csv):
    """`thresher fit DATA --resume RUN`."""
    stopped(3)
    (tmp_path / "iris.csv").rename(tmp_path / "moved.csv")
    assert call("fit", "--resume", "run").code == 2
    assert call("fit", "moved.csv", "--resume", "run").code == 0
    assert call("fit", "moved.csv", *iris_csv[1:], "--epochs", 6, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


@pytest.mark.parametrize("left", [0, 8, 500, 20_000])
def test_a_torn_checkpoint_is_refused_with_a_way_out(left, stopped, call, tmp_path):
    """However little is left of it; the way out works."""
    stopped(3)
    checkpoint = tmp_path / "run/state/checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:left])
    done = call("fit", "--resume", "run")
    assert done.code == 2
    assert len(done.complaint) == 2
    assert "checkpoint.safetensors cannot be read" in done.complaint[0]
    assert "--overwrite" in done.complaint[1]
    again = call("fit", "--config", "run/run.toml", "--out", "run", "--overwrite")
    assert again.code == 0


def test_a_checkpoint_of_another_training_is_refused(stopped, call, tmp_path, iris_csv):
    """Of two networks instead of one."""
    stopped(3, "--method", "co-teaching")
    torn = (tmp_path / "run/state/checkpoint.safetensors").read_bytes()
    stopped(3, "--overwrite")
    (tmp_path / "run/state/checkpoint.safetensors").write_bytes(torn)
    done = call("fit", "--resume", "run")
    assert done.code == 2
    assert "is of another training: its method is co-teaching, here auto." in done.complaint[0]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "has schema None"),
        ("schema = 99\n", "has schema 99; this release reads 1"),
        ("schema = 1\n", "has no table [fit]"),
        ("schema = 1\n[fit]\nepochs = 3\n", "has no table [run]"),
        ("[fit", "cannot be read"),
    ],
)
def test_settings_of_a_run_that_cannot_be_read_are_refused(text, cause, stopped, call, tmp_path):
    """Of a later release, cut short, or somebody else's run.toml."""
    stopped(3)
    (tmp_path / "run/run.toml").write_text(text)
    done = call("fit", "--resume", "run")
    assert done.code == 2
    assert len(done.complaint) == 2
    assert cause in done.complaint[0]


def test_a_failed_run_is_kept_if_it_can_go_on(stopped, call, iris_csv):
    """A defect on the way is no reason to lose what was trained."""
    done = stopped(4, "--save-every", 1e-9, error=RuntimeError("lightning"))
    assert done.code == 2
    assert "note: What was trained is kept. Go on with: thresher fit --resume run" in done.err
    assert call("fit", "--resume", "run").code == 0
    assert call("fit", *iris_csv, "--epochs", 6, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_a_resumed_run_that_fails_is_not_removed(stopped, call, monkeypatch, tmp_path):
    """Even without a checkpoint: it was there before."""
    stopped(1)
    (tmp_path / "run/state/checkpoint.safetensors").unlink()

    def fail(self, number, epochs, metrics):
        raise RuntimeError("lightning")

    monkeypatch.setattr("thresher.cli.output.Narrator.epoch", fail)
    assert call("fit", "--resume", "run").code == 2
    assert (tmp_path / "run/run.toml").is_file()


def stop_process(process, signal_number, epoch=3, *arguments):
    """Send a signal as soon as an epoch is told; gives the exit code and standard error."""
    running = process("fit", *arguments)
    lines = []
    for line in running.stderr:
        lines.append(line)
        if line.startswith(f"epoch {epoch}/"):
            running.send_signal(signal_number)
    return running.wait(60), "".join(lines)


@pytest.mark.parametrize(
    ("signal_number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_process_that_is_stopped_goes_on(signal_number, code, process, call, iris_csv):
    """What can be caught leaves word how; a kill does not, but the run goes on all the same."""
    options = [*iris_csv, "--epochs", 80, "--save-every", 0.02]
    found, said = stop_process(process, signal_number, 3, *options, "--out", "run")
    assert code == found
    assert "epoch 80/80" not in said
    if signal_number == signal.SIGTERM:
        assert "Go on with: thresher fit --resume run" in said
        assert "Traceback" not in said
    assert call("fit", "--resume", "run").code == 0
    assert call("fit", *options, "--out", "whole").code == 0
    shipped.assert_same_run("whole", "run")


def test_two_processes_never_share_a_folder(process, call, iris_csv, tmp_path):
    """Resuming or replacing a run that is being trained is refused, and harms it not."""
    running = process("fit", *iris_csv, "--epochs", 2000, "--out", "run")
    next(line for line in running.stderr if line.startswith("epoch 2/"))
    for arguments in (["--resume", "run"], [*iris_csv, "--out", "run", "--overwrite"]):
        done = call("fit", *arguments)
        assert done.code == 2
        assert "is in use: another process is training there" in done.complaint[0]
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.stderr.read()
    assert running.wait(60) == 130
    assert ["iris.csv", "run"] == sorted(each.name for each in tmp_path.iterdir())
