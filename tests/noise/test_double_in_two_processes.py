"""What parts two processes from one is rounding alone: in double precision it stays out of sight.

In single precision a network with max-pooling and batch norm makes of the last bit of a sum
something to be seen within two epochs, the sooner the harder a method pulls: ODNL's loss is
three and a half times a cross-entropy.
"""

from pathlib import Path

import pytest
import torch

from noise.double_in_two_processes import EPOCHS, trained
from started_together import started_together

SCRIPT = Path(__file__).with_name("double_in_two_processes.py")
METHODS = ["standard", "odnl", "taufe", "gce"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two processes came to, by every method."""
    return started_together(SCRIPT, 2, tmp_path_factory.mktemp("double"), *METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_convolutional_network_in_two_processes_is_that_of_one(results, name):
    """To eleven digits, after every epoch; both processes to the bit."""
    first, second = (each[name] for each in results)
    alone = trained(name)
    assert len(alone) == EPOCHS
    for here, there, one in zip(first, second, alone, strict=True):
        for part, values in one.items():
            assert torch.equal(here[part], there[part]), part
            torch.testing.assert_close(here[part], values, rtol=1e-9, atol=1e-11)
