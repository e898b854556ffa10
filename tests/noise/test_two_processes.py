"""Two processes on halves of every batch: methods with phases, joint losses or own passes."""

from pathlib import Path

import pytest
import torch

from noise.methods_in_two_processes import train
from started_together import started_together

SCRIPT = Path(__file__).with_name("methods_in_two_processes.py")


def whole(batch):
    return torch.cat([batch[0::2], batch[1::2]])


#: How one process cuts its batches to see what two do.
ALONE = {
    "active-bias": [whole],
    "backward": [whole],
    "co-teaching-plus": [whole],
    "decoupling": [whole],
    "forward": [whole],
    "jocor": [whole],
    "morph": [whole],
    "prestopping": [whole],
    "prestopping-plus": [whole],
    "selfie": [whole],
    "selective-backprop": [whole],
    "rho-loss": [whole],
    "mixup": [whole],
    "taufe": [whole],
    "oat": [whole],
    "odnl": [whole],
    "dividemix": [whole],
    "pes": [whole],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two processes came to, by every method."""
    return started_together(SCRIPT, 2, tmp_path_factory.mktemp("two"), *ALONE)


@pytest.mark.parametrize("name", list(ALONE))
def test_two_processes_keep_the_history_and_the_weights_of_one(results, name):
    """Both hold the same; rounding aside, it is what one process comes to."""
    first, second = (each[name] for each in results)
    alone = train(name, ALONE[name])
    for key, values in alone["history"].items():
        assert torch.equal(first["history"][key], second["history"][key]), key
        if values.is_floating_point():
            torch.testing.assert_close(first["history"][key], values, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(first["history"][key], values), key
    for key, values in alone["model"].items():
        torch.testing.assert_close(first["model"][key], values, rtol=1e-4, atol=1e-5)
