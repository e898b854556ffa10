"""What may be imported by what: the floors of the house, and what stays unloaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thresher

ROOT = Path(thresher.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = ("torch", "pyarrow", "sklearn", "scipy", "numba", "pandas", "polars", "PIL", "jinja2")
NEVER = ("torchvision", "timm", "kornia", "albumentations", "transformers", "datasets")

FLOORS = {  # docs/architecture.md; a room imports only from floors below its own, or its own room
    "__main__": 7,
    "cli": 6,
    "bench": 5,
    **dict.fromkeys(
        (
            "settings",
            "fitting",
            "run_data",
            "run_owner",
            "planning",
            "classifier",
            "estimate",
            "shared_reading",
            "job",
            "epochs",
            "auditing",
            "compared_groups",
            "finishing",
            "running",
            "model_card",
            "evidence",
            "corrected",
            "auxiliary_data",
            "foreign_marks",
            "decided",
            "review",
            "trained_model",
            "demonstration",
        ),
        4,
    ),
    "audit": 3,
    "training": 2,
    **dict.fromkeys(("noise", "sampling", "openset"), 1),
    **dict.fromkeys(
        (
            "history",
            "batch_rows",
            "boundary_distance",
            "phases",
            "held_out_average",
            "label_history",
            "ranges",
            "mixture",
            "noise_rate",
            "ood_scores",
            "prediction_deviation",
            "transition",
            "keyed_random",
            "stratified",
            "data",
            "models",
            "cluster",
            "distributed",
            "process_group",
            "decisions",
            "run_folder",
            "held_folder",
            "group_report",
            "stop_signals",
            "whole_file",
            "memory",
            "errors",
        ),
        0,
    ),
}


def loaded_by(code):
    """The names of the modules that a statement loads in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import thresher",
        "import thresher; dir(thresher); thresher.__version__",
        "from thresher.cli import main",
        "import thresher.errors, thresher.settings",
        "import thresher.cluster; dir(thresher.cluster)",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code):
    """Importing thresher costs next to nothing."""
    assert set() == loaded_by(code) & set(HEAVY)


def test_packages_that_cannot_be_had_everywhere_are_never_loaded():
    """Not even by the whole of it."""
    loaded = loaded_by("import thresher.fitting, thresher.trained_model, thresher.demonstration")
    assert "torch" in loaded
    assert set() == loaded & set(NEVER)


def room(path):
    """The name of a file's room: the folder or file right below the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """The rooms that a file imports from, at its top or within its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "thresher":
                names = [f"thresher.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        else:
            continue
        found |= {each.split(".")[1] for each in names if each.startswith("thresher.")}
    return found


@pytest.mark.parametrize(
    "path", [each for each in FILES if room(each) != "__init__"], ids=lambda each: each.stem
)
def test_a_room_imports_only_from_floors_below_its_own(path):
    """Or from itself; on the lowest floor and on that of the runs, from neighbours too."""
    here = room(path)
    floor = FLOORS[here]
    upwards = {"noise"} if here == "settings" else set()  # see the next test
    for other in imports(path) - {here, "__version__"} - upwards:
        assert FLOORS[other] < floor or (FLOORS[other] == floor and floor in (0, 4)), other


def test_settings_know_the_names_of_the_methods_and_not_the_methods():
    """The one import upwards: a dictionary of names, without torch."""
    assert "torch" not in loaded_by("from thresher.noise import METHODS; assert METHODS")


def test_every_room_has_a_floor():
    """A new one is put somewhere on purpose."""
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOORS)


def test_the_audit_imports_nothing_of_training():
    """Its only input is a record of plain arrays."""
    for path in FILES:
        if room(path) == "audit":
            assert set() == imports(path) & {"training", "noise", "models", "history", "sampling"}


def test_clustering_stands_beside_training():
    """It reads the same files, and needs nothing of the other half; nor does that of it."""
    for path in FILES:
        if room(path) == "cluster":
            allowed = {"cluster", "data", "errors", "keyed_random", "memory", "whole_file"}
            assert imports(path) <= allowed, path
        elif room(path) != "cli":
            assert "cluster" not in imports(path), path


def test_kernels_import_kernels_alone():
    """Pure functions on arrays: no files, no threads, nothing of Spark."""
    for path in FILES:
        if path.parent.name != "kernels":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("thresher"):
                assert node.module.startswith("thresher.cluster.kernels"), path


def test_spark_is_imported_in_its_folder_alone():
    """And there within functions, so that a worker, and a newcomer, need not load it."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "pyspark" for name in names):
                assert "spark" == path.parent.name, path
    assert "pyspark" not in loaded_by("import thresher.cluster.spark.spark_dbscan")


def test_nothing_relative_is_imported():
    """Every import says where it comes from."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
