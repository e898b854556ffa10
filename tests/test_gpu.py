"""The main job on a GPU; skipped where there is none."""

import numpy as np
import pytest
import torch

import thresher
from thresher.noise import METHODS, make_method

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_run_on_the_gpu_learns_as_on_the_cpu(method, tmp_path):
    """Same batches, so the accuracies agree within a few points, and the audit has every row."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)
    data, test = (images[:1400], digits.target[:1400]), (images[1400:], digits.target[1400:])
    further = images[:, :, ::-1].copy() if make_method(method).streams() else None
    found = {
        device: thresher.fit(
            data,
            test=test,
            auxiliary=further,
            method=method,
            epochs=6,
            device=device,
            out=tmp_path / device,
        ).summary
        for device in ("cpu", "cuda")
    }
    assert found["cuda"]["n"] == 1400
    assert abs(found["cuda"]["test_accuracy"] - found["cpu"]["test_accuracy"]) < 0.1
