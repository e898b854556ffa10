"""The picture shows every cluster in a colour of its own, and says what it leaves out."""

import numpy as np
import pytest
from PIL import Image

from thresher.cluster import plot
from thresher.cluster.plot import COLOURS, NOISE, draw
from thresher.cluster.points import ArrayPoints
from thresher.errors import RunError


def squares(count=400):
    """Two squares of points side by side, and one far point of noise."""
    random = np.random.default_rng(0)
    X = random.uniform(0, 1, (count, 2))
    labels = np.zeros(count, np.int32)
    X[count // 4 :, 0] += 3
    labels[count // 4 :] = 1
    return np.append(X, [[2.0, 0.5]], axis=0), np.append(labels, np.int32(-1))


def near(image, colour, tolerance=60):
    """(n, 2) pixels of about a colour in the panel, x and y."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = np.array(plot._rgb(colour))
    found = (np.abs(pixels - wanted) <= tolerance).all(axis=2)
    if colour != NOISE:
        found &= np.ptp(pixels, axis=2) > 40  # greys are near to every pale colour
    found[: plot.TOP + 2] = found[-plot.BOTTOM :] = False
    found[:, : plot.LEFT + 2] = found[:, -plot.RIGHT :] = False
    return np.argwhere(found)[:, ::-1]


def drawn(tmp_path, X, labels, *arguments, **options):
    count = draw(
        ArrayPoints(np.asarray(X, float)), labels, tmp_path / "x.png", *arguments, **options
    )
    image = Image.open(tmp_path / "x.png")
    image.load()
    return image, count


def test_clusters_have_colours_and_places_of_their_own(tmp_path):
    """The larger one has the first colour; noise is grey, between them."""
    X, labels = squares()
    image, count = drawn(tmp_path, X, labels, ["a", "b"])
    assert count == 401
    large, small = near(image, COLOURS[0]), near(image, COLOURS[1])
    noise = near(image, NOISE, 20)
    assert small[:, 0].max() < noise[:, 0].mean() < large[:, 0].min()
    assert len(large) > len(small) > len(noise) > 10


def test_up_is_up(tmp_path):
    """The first coordinate goes to the right, the second upwards."""
    image, _ = drawn(tmp_path, [[0, 0], [1, 0], [1, 1]], np.array([0, 0, 1], np.int32))
    (right, top), (_, bottom) = (
        near(image, COLOURS[1]).mean(axis=0),
        near(image, COLOURS[0]).mean(0),
    )
    assert top < bottom
    assert right > image.width / 3


def test_north_is_up_on_a_map(tmp_path):
    """Latitude comes first in the data, and is the height in the picture."""
    X = np.array([[48.0, 2.0], [48.0, 2.5], [49.0, 2.5]])
    image, _ = drawn(tmp_path, X, np.array([0, 0, 1], np.int32), geographic=True)
    north, south = near(image, COLOURS[1]).mean(axis=0), near(image, COLOURS[0])
    assert north[1] < south[:, 1].min()
    assert abs(north[0] - south[:, 0].max()) < 10
    # half a degree of longitude there is a third of a degree of latitude
    across, up = np.ptp(south[:, 0]), south[:, 1].mean() - north[1]
    assert abs(across / up - 0.5 * np.cos(np.deg2rad(48.5))) < 0.03


def test_noise_never_hides_a_cluster(tmp_path):
    """It is drawn below, however much there is."""
    X = np.concatenate([np.full((5, 2), 0.5), np.full((5000, 2), 0.5), [[0, 0], [1, 1]]])
    labels = np.full(len(X), -1, np.int32)
    labels[:5] = 0
    image, _ = drawn(tmp_path, X, labels)
    assert len(near(image, COLOURS[0])) > 10


def words(monkeypatch, tmp_path, X, labels, *arguments, **options):
    """All that is written in the picture."""
    written = []
    text = plot.ImageDraw.ImageDraw.text

    def record(self, place, words, *rest, **more):
        written.append(words)
        return text(self, place, words, *rest, **more)

    monkeypatch.setattr(plot.ImageDraw.ImageDraw, "text", record)
    drawn(tmp_path, X, labels, *arguments, **options)
    return written


def test_the_title_counts_clusters_and_noise(monkeypatch, tmp_path):
    """And the legend the points of each; the axes have the names of the columns."""
    X, labels = squares()
    written = words(monkeypatch, tmp_path, X, labels, ["weight (kg)", "height"])
    assert "2 clusters, 1 noise (0.2 %)" in written
    assert {"cluster 0", "cluster 1", "noise", "100", "300", "1"} <= set(written)
    assert {"weight (kg)", "height", "401 points"} <= set(written)


def test_what_is_left_out_is_said(monkeypatch, tmp_path):
    """Points beyond a million, further coordinates, and far outliers."""
    monkeypatch.setattr(plot, "MOST_POINTS", 1000)
    X = np.random.default_rng(0).normal(size=(4000, 3))
    X[8] = 1e6
    labels = np.zeros(4000, np.int32)
    written = words(monkeypatch, tmp_path, X, labels, ["a", "b", "c"])
    note = "4,000 points · one in 4 drawn · first 2 of 3 coordinates · 1 far outside"
    assert note in written
    assert "c" not in written
    assert drawn(tmp_path, X, labels)[1] == 1000


def test_colours_repeat_and_it_is_said(monkeypatch, tmp_path):
    """There are nine; the legend names the nine largest clusters."""
    labels = np.arange(40, dtype=np.int32) % 20
    written = words(monkeypatch, tmp_path, np.random.default_rng(0).normal(size=(40, 2)), labels)
    assert {"11 more", "22", "colours repeat"} <= set(written)


@pytest.mark.parametrize(
    "X",
    [
        np.empty((0, 2)),
        np.zeros((1, 2)),
        np.full((50, 2), 7.0),
        np.random.default_rng(0).normal(size=(50, 1)),
        np.column_stack([np.arange(50), np.zeros(50)]),
        np.random.default_rng(0).normal(size=(50, 2)) * [1, 1e9],
        np.random.default_rng(0).normal(size=(50, 2)) * [1e-9, 1e-9] + 1e3,
        np.random.default_rng(0).normal(size=(50, 2)) * 1e300,
    ],
    ids=["none", "one", "equal", "a line", "flat", "other units", "tiny", "huge"],
)
@pytest.mark.parametrize("geographic", [False, True])
def test_any_points_can_be_drawn(X, geographic, tmp_path):
    """None, one, all in one place, on a line, of any size."""
    if geographic and X.shape[1] == 1:
        return
    image, count = drawn(tmp_path, X, np.zeros(len(X), np.int32), geographic=geographic)
    assert count == len(X)
    assert 300 < image.width <= 2000
    assert (len(near(image, COLOURS[0])) > 0) == (len(X) > 0)


def test_names_of_any_length_are_drawn(tmp_path):
    """Cut, or of letters that the font lacks."""
    X, labels = squares()
    short, _ = drawn(tmp_path, X, labels, ["n", "o"])
    long, count = drawn(tmp_path, X, labels, ["n" * 500, "größe\n猫"])
    assert len(labels) == count
    assert short.size == long.size
    assert short.tobytes() != long.tobytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """With the system's reason; nothing is left."""
    X, labels = squares()
    with pytest.raises(RunError, match="No such file"):
        draw(ArrayPoints(X), labels, tmp_path / "nowhere/x.png")
