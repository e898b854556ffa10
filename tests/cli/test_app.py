"""The program as a whole: its streams, its exit codes, and that it leaves no trace elsewhere."""

import errno
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from fcntl import ioctl

import pyarrow.parquet as pq
import pytest

import shipped
import thresher
from thresher.cli import output
from thresher.cli.output import visible


def test_the_version_is_printed(call):
    """And nothing else."""
    done = call("--version")
    assert (done.code, done.out) == (0, f"thresher {thresher.__version__}\n")


COMMANDS = ("fit", "predict", "audit", "dbscan", "kmedoids", "methods", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, call):
    """A sentence, and every option with one."""
    done = call(command, "--help")
    assert done.code == 0
    assert done.err == ""
    assert command in done.out
    assert "--json" in done.out


def test_help_lists_the_commands(call):
    """In the order one needs them."""
    done = call("--help")
    places = [done.out.index(f" {each} ") for each in COMMANDS]
    assert places == sorted(places)


HEAVY = "('torch', 'pyarrow', 'sklearn', 'numba', 'scipy', 'pandas', 'PIL', 'jinja2', 'accelerate')"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], []),
        (["--version"], []),
        (["fit", "--help"], []),
        (["fit", "data.csv", "--method", "selfy"], []),
        (["fit", "data.csv", "--epochs", "0"], []),
        (["dbscan", "--help"], []),
        (["kmedoids", "--help"], []),
        (["audit", "nowhere"], ["pyarrow"]),
    ],
)
def test_light_commands_load_nothing_heavy(arguments, allowed, tmp_path):
    """So that they answer at once."""
    code = (
        f"import sys; sys.argv = {['thresher', *arguments]}\n"
        "from thresher.cli import main\n"
        "try: main()\n"
        f"finally: print('loaded', [n for n in {HEAVY} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("loaded ")
    assert set(json.loads(last.removeprefix("loaded ").replace("'", '"'))) <= set(allowed)


def test_an_audit_is_listed_without_torch(iris_run):
    """A finished run is read in a fraction of a second."""
    code = (
        "import sys; from thresher.cli import main\n"
        f"sys.argv = ['thresher', 'audit', {str(iris_run)!r}]\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"


@pytest.fixture
def home(tmp_path):
    """An empty home, an empty place for temporary files, and a working directory with iris.csv."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    shipped.iris().to_csv(tmp_path / "work/iris.csv", index=False)
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "40"}


FIT = ("fit", "iris.csv", "--label", "species", "--epochs", "3")


def test_a_fit_in_a_pipe_with_closed_input_is_clean(process, home, tmp_path):
    """One object on standard output, no escape codes, and nothing written outside the run folder.

    The same weights as in a terminal are the next test's.
    """
    running = process(
        *FIT, "--out", "run", "--json",
        cwd=tmp_path / "work", env=home, preexec_fn=lambda: os.close(0), stdin=None,
    )  # fmt: skip
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert json.loads(out)["n"] == 150
    assert "\x1b" not in out + err
    assert "Traceback" not in err
    outside = {
        name
        for name in shipped.contents(tmp_path)
        if not name.startswith("work/run/") and "__pycache__" not in name
    }
    assert {"home", "tmp", "work", "work/iris.csv", "work/run"} == outside


def in_a_terminal(command, columns, **options):
    """Run a command in a terminal so wide; gives its exit code and what was shown."""
    inner, outer = pty.openpty()
    ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    running = subprocess.Popen(command, stdin=outer, stdout=outer, stderr=outer, **options)
    os.close(outer)
    shown = b""
    with suppress(OSError):  # how Linux says that the last writer has gone
        while part := os.read(inner, 65536):
            shown += part
    os.close(inner)
    return running.wait(60), shown.decode()


def test_a_narrow_terminal_changes_what_is_shown_and_not_the_run(call, tmp_path, home):
    """A progress bar there, lines in a pipe; the numbers are the same bit for bit."""
    program = "from thresher.cli import main; main()"
    environment = {**os.environ, **home, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
    environment.pop("COLUMNS")
    code, shown = in_a_terminal(
        [sys.executable, "-c", program, *FIT, "--out", "run"],
        40,
        cwd=tmp_path / "work",
        env=environment,
    )
    assert code == 0, shown
    assert "\x1b[" in shown
    assert "Traceback" not in shown
    (tmp_path / "iris.csv").write_bytes((tmp_path / "work/iris.csv").read_bytes())
    assert call(*FIT, "--out", "piped").code == 0
    shipped.assert_same_run(tmp_path / "work/run", tmp_path / "piped")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_table_fits_its_terminal(columns, iris_run):
    """Nothing runs over the edge, and no sample's name is cut; at 80 columns none is folded."""
    code, shown = in_a_terminal(
        [sys.executable, "-c", "from thresher.cli import main; main()", "audit", str(iris_run)],
        columns,
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
    )
    assert code == 0
    lines = re.sub(r"\x1b\[[0-9;]*m|\r", "", shown).splitlines()
    assert len(lines) > 5
    assert max(len(each) for each in lines[1:]) <= columns
    assert "…" not in shown
    if columns >= 80:
        ids = pq.read_table(iris_run / "audit.parquet")["sample_id"].to_pylist()
        assert {each.split()[1] for each in lines[2:]} <= set(ids)


def test_a_reader_that_goes_away_is_no_finding(process, iris_run):
    """`thresher audit RUN | head -0` ends quietly, with neither 0 nor 1."""
    reading, writing = os.pipe()
    os.close(reading)
    running = process("audit", iris_run, "--fail-on", "0", stdout=writing)
    os.close(writing)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 141
    assert err == ""


def test_output_that_cannot_be_written_is_no_finding(process, iris_run):
    """A full disk under standard output: a line of cause, a line of fix, exit 2."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, not a file of ours
        running = process("audit", iris_run, "--json", stdout=full)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert err.splitlines() == [
        "thresher: The system refused: No space left on device.",
        "          Check the path, its rights and the space.",
    ]


def test_names_beyond_an_encoding_are_escaped_not_fatal(process, iris_run, tmp_path):
    """Where standard output is ASCII, people see an escape, and JSON is still JSON."""
    frame = shipped.iris()
    names = {"setosa": "猫", "versicolor": "größe", "virginica": "x"}
    frame = frame.assign(species=frame["species"].map(names))
    frame.to_csv(tmp_path / "iris.csv", index=False)
    thresher.fit(tmp_path / "iris.csv", label="species", epochs=8, out=tmp_path / "run")
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    shown = process("audit", "run", "--top", "1000", env=ascii_only)
    out, err = shown.communicate(timeout=60)
    assert shown.returncode == 0, err
    assert r"\u732b" in out
    told = process("audit", "run", "--top", "1000", "--json", env=ascii_only)
    suspects = json.loads(told.communicate(timeout=60)[0])["suspects"]
    assert "猫" in {each["given_label"] for each in suspects}


def test_an_unforeseen_error_is_told_in_two_lines(call, monkeypatch, iris_run):
    """Exit 2, which is no finding; the traceback is shown on request, wherever one asks."""

    def fail(*arguments, **options):
        raise ZeroDivisionError("by zero\nin two lines")

    monkeypatch.setattr("thresher.cli.audit.print_suspects", fail)
    done = call("audit", iris_run)
    assert done.code == 2
    assert done.complaint == [
        r"thresher: Unforeseen ZeroDivisionError: by zero\nin two lines",
        "          Please report it with what --debug adds: it is a defect of thresher.",
    ]
    for arguments in (["--debug", "audit", iris_run], ["audit", iris_run, "--debug"]):
        done = call(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err
        assert "print_suspects" in done.err


def test_a_refusal_shows_its_traceback_on_request(call):
    """For whoever looks for a defect in thresher."""
    done = call("audit", "nowhere", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "thresher: nowhere is not a run folder" in done.err


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "There is not enough memory."),
        (OSError(errno.EIO, "Input/output error", "disk"), "Input/output error (disk)."),
    ],
)
def test_what_the_system_refuses_is_told_in_its_words(error, cause, call, monkeypatch, iris_run):
    """Memory and disks are no defects of thresher."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("thresher.cli.audit.print_suspects", fail)
    done = call("audit", iris_run)
    assert done.code == 2
    assert len(done.complaint) == 2
    assert done.complaint[0].endswith(cause)


def test_ctrl_c_ends_every_command_with_130(call, monkeypatch, iris_run):
    """As shells expect."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("thresher.cli.audit.print_suspects", stop)
    done = call("audit", iris_run)
    assert done.code == 130
    assert "Traceback" not in done.err


def test_control_characters_are_written_out():
    """What users' data hold neither steers a terminal nor breaks a line; letters stay."""
    assert r"a\x1b[31m\nb\tc\x9b" == visible("a\x1b[31m\nb\tc\x9b")
    assert "größe 猫 👩‍🔬" == visible("größe 猫 👩‍🔬")


def test_a_note_is_one_line(capsys):
    """Whatever stands in it."""
    output.Narrator().note("two\nlines")
    assert capsys.readouterr().err == "note: two\\nlines\n"


class Sparing(io.RawIOBase):
    """An unbuffered stream that takes seven bytes at a time, as a nearly full disk does."""

    def __init__(self):
        self.taken = b""

    def writable(self):
        return True

    def write(self, content):
        self.taken += bytes(content[:7])
        return min(7, len(content))


def test_output_is_written_to_its_last_byte(monkeypatch):
    """Whatever the stream takes at a time."""
    stream = Sparing()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, write_through=True))
    output.print_json({"classes": ["größe", "猫"], "n": 3})
    assert json.loads(stream.taken) == {"classes": ["größe", "猫"], "n": 3}
    assert stream.taken.endswith(b"}\n")
