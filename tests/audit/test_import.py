"""What the audit may import."""

import subprocess
import sys

import thresher.audit


def test_judging_needs_neither_torch_nor_arrow_nor_templates():
    """They are loaded by the table and the report alone."""
    code = (
        "import sys, thresher.audit, thresher.noise_rate; "
        "print([n for n in ('torch', 'pyarrow', 'jinja2', 'sklearn') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_everything_promised_is_there():
    """Late imports included."""
    for name in thresher.audit.__all__:
        assert getattr(thresher.audit, name) is not None
