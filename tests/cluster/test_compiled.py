"""Machine code is kept between processes, made anew when any kernel changes, and can do without."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching

import thresher
from thresher.cluster.kernels import compiled, disjoint

KERNELS = Path(compiled.__file__).parent
PACKAGE = Path(thresher.__file__).parent
CODE = """
import numpy as np
import thresher
from thresher.cluster.kernels.disjoint import find, unite
parent = np.arange(4)
unite(parent, 1, 3)
print(find(parent, 3), hasattr(find._cache, "_cache_file"), thresher.__file__)
"""


@pytest.fixture
def nowhere(monkeypatch):
    """numba finds no place to keep machine code: what a test compiles, it compiles anew."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])


def sources_of(folder):
    """The fingerprint of a folder of kernels."""
    spec = importlib.util.spec_from_file_location("copied", folder / "compiled.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SOURCES


def test_a_change_of_any_kernel_changes_the_fingerprint(tmp_path):
    """Of one that others call, as well: numba looks at a kernel's own file alone."""
    kernels, same = tmp_path / "kernels", tmp_path / "same"
    shutil.copytree(KERNELS, kernels, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(kernels, same)
    assert sources_of(kernels) == sources_of(same)
    with (kernels / "distance.py").open("a") as file:
        file.write("# changed\n")
    assert sources_of(kernels) != sources_of(same)


def test_kernels_are_kept_under_the_fingerprint():
    """A private name of numba: where it goes, this test tells."""
    file = disjoint.find._cache._cache_file
    assert compiled.SOURCES == file._source_stamp


def test_kernels_release_the_lock_and_keep_the_order_of_sums():
    options = disjoint.find.targetoptions
    assert options["nogil"]
    assert not options.get("fastmath", False)
    assert not options.get("parallel", False)


def test_a_full_disk_costs_the_machine_code_and_nothing_else(monkeypatch):
    """The kernel runs; the next process compiles it anew."""

    def full(self, name, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)

    @compiled.kernel
    def thrice(a):
        return 3 * a

    assert 6.0 == thrice(2.0)


def test_a_division_by_zero_is_numpys(nowhere):
    """No exception in the middle of an array."""

    @compiled.kernel
    def divide(a, b):
        return a / b

    assert np.inf == divide(1.0, 0.0)


def test_compiling_is_told_once(nowhere):
    """Not when the machine code is there already, nor to who no longer listens."""
    told = []

    @compiled.kernel
    def triple(x):
        return 3 * x

    with compiled.told_of_compiling(lambda: told.append("compiling")):
        assert 6 == triple(2)
        first = len(told)
        assert 9 == triple(3)
    assert 1 <= first == len(told)
    assert 1.5 == triple(0.5)
    assert first == len(told)


def test_where_nothing_can_be_written_kernels_are_compiled_anew(nowhere):
    """numba raises; the work goes on."""

    def double(x):
        return 2 * x

    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(double)
    doubled = compiled.kernel(double)
    assert 6 == doubled(3)
    assert doubled.targetoptions["nogil"]


def obey_rights():
    """In a child: what stops other users shall stop the superuser, too."""
    drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop, override, 0, 0, 0):
        os._exit(99)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rights are dropped as on Linux")
def test_a_read_only_installation_without_a_home_works(tmp_path):
    """As in a container: NUMBA_CACHE_DIR is not set, HOME does not exist."""
    shutil.copytree(
        PACKAGE, tmp_path / "thresher", ignore=shutil.ignore_patterns("__pycache__", "*.nb?")
    )
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, cwd="/", check=False,
            env=kept | {"HOME": str(tmp_path / "nowhere"), "PYTHONPATH": str(tmp_path)},
            preexec_fn=obey_rights, timeout=120,
        )  # fmt: skip
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    if done.returncode == 99:
        pytest.skip("the superuser may not give up its rights here")
    assert 0 == done.returncode, done.stderr
    assert f"1 False {tmp_path}/thresher/__init__.py" == done.stdout.strip()
    assert not list(tmp_path.rglob("__pycache__"))
