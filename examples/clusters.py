"""A hundred thousand positions: choose eps, cluster them, and look up new ones.

python examples/clusters.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from thresher.cluster import DBSCAN, KMedoids, k_distance

# Taxis wait at forty ranks of a city, or drive anywhere in it; metres east and north of a corner.
random = np.random.default_rng(0)
ranks = random.uniform(0, 12_000, (40, 2))
rank = random.integers(40, size=80_000)
waiting = ranks[rank] + random.normal(scale=25, size=(80_000, 2))
driving = random.uniform(0, 12_000, (20_000, 2))
positions = pd.DataFrame(np.concatenate([waiting, driving]), columns=["east", "north"])
true = np.append(rank, np.full(len(driving), -1))

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "positions.parquet"
    positions.to_parquet(path)

    # The distances to the 20th nearest of all, for 10,000 of them, say where density falls.
    curve = k_distance(path, k=20)
    curve.plot(Path(folder) / "distances.png")
    eps = curve.suggested_eps
    print(f"suggested eps {eps:.1f} m, at which {curve.core_share(eps):.1%} are core")

    # A file is read by parts; the result is that of the definition, for any number of threads.
    model = DBSCAN(eps=eps, min_samples=20).fit(path)
    first = model.predict(ranks[:1])[0]  # reads the core points

found = model.labels_
together = pd.crosstab(found[(found >= 0) & (true >= 0)], true[(found >= 0) & (true >= 0)])
print(f"{model.n_clusters_} clusters around {len(ranks)} ranks, {(found < 0).mean():.1%} noise")
print(f"{together.to_numpy().max(axis=1).sum() / together.to_numpy().sum():.1%} with their rank")
print(f"the cluster of the first rank is {first}")

# Where every position is to be served, from one of them: k-medoids.
places = KMedoids(n_clusters=40, random_state=0).fit(positions)
print(f"from 40 places, a position is {places.inertia_ / len(positions):.0f} m away on average")
