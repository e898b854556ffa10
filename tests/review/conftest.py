"""A review, and browsers with and without its guard."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from reviewed import audit_table, run_of
from thresher.audit.evidence_file import Evidence, Neighbour, write_evidence
from thresher.review.guard import Guard
from thresher.review.routes import routes
from thresher.review.session import Review

PORT = 8765
HOST = f"127.0.0.1:{PORT}"


@pytest.fixture
def run(tmp_path):
    """Forty samples of four classes, twelve of them flagged."""
    return run_of(tmp_path / "run", audit_table())


@pytest.fixture
def review(run):
    """Its review, without a guard."""
    write_evidence(
        run.evidence,
        [
            (
                f"sample/{row}",
                Evidence(
                    cells={"width": str(row)},
                    history=np.array([0, 0.5, 1], np.float32),
                    neighbours=(Neighbour("sample/1", "dog"), Neighbour("gone", "dog")),
                ),
            )
            for row in range(20)
        ],
    )
    made = Review(run)
    yield made
    made.log.close()


@pytest.fixture
def client(review):
    """A browser that asks past the guard."""
    with TestClient(routes(review), base_url=f"http://{HOST}") as browser:
        yield browser


@pytest.fixture
def guarded(review):
    """The guard before the routes, and a browser that has not opened the review."""
    guard = Guard(routes(review), frozenset({HOST, f"localhost:{PORT}"}))
    with TestClient(guard, base_url=f"http://{HOST}", follow_redirects=False) as browser:
        yield guard, browser
