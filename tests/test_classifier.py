"""The estimator: scikit-learn's own checks, what it takes and gives, and that it writes nothing."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import shipped
import thresher
from thresher import RobustClassifier
from thresher.errors import ModelError, ParameterError
from thresher.noise import ELR

#: Check → why it cannot pass. None is excepted; scikit-learn itself skips `check_array_api_input`
#: where the variable SCIPY_ARRAY_API is not set.
EXCEPTED: dict[str, str] = {}


def quick(**settings):
    """A classifier for small data."""
    return RobustClassifier(**{"epochs": 4, "device": "cpu", "random_state": 0} | settings)


@parametrize_with_checks(
    [RobustClassifier(epochs=3, device="cpu")], expected_failed_checks=lambda _: EXCEPTED
)
def test_scikit_learns_checks(estimator, check):
    """All of them."""
    check(estimator)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """The working directory of every test here; nothing is ever written to it."""
    monkeypatch.chdir(tmp_path)
    yield
    assert [] == [each for each in tmp_path.iterdir() if each.suffix != ".py"]


# ---------------------------------------------------------------------- what it takes
def mixed_frame(rows=160):
    """Numbers, a category that says most, and holes in both; the labels are texts."""
    random = np.random.default_rng(4)
    colour = random.choice(["red", "green", "blue"], rows)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=rows) + 2 * (colour == "red"),
            "colour": colour,
            "label": random.normal(size=rows),  # a feature like any other: y is given
        },
        index=[f"row {each}" for each in range(rows)],
    )
    kinds = np.where(colour == "red", "warm", "cold")
    frame.iloc[::9, 0] = np.nan
    frame.iloc[::11, 1] = None
    return frame, kinds


def as_pandas(frame):
    return frame


def as_polars(frame):
    return pl.from_pandas(frame.reset_index(drop=True))


def as_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("library", [as_pandas, as_polars, as_arrow])
def test_a_data_frame_with_categories_and_holes_is_learned(library):
    """Of any library; the audit comes back as a frame of the same."""
    frame, y = mixed_frame()
    X = library(frame)
    classifier = quick(epochs=8).fit(X, y)
    assert classifier.score(X, y) > 0.85
    assert ["size", "colour", "label"] == list(classifier.feature_names_in_)
    assert type(classifier.audit_) is type(X)
    assert 160 == len(classifier.audit_)
    given = classifier.audit_["given_label"]
    assert y.tolist() == (given.to_pylist() if library is as_arrow else given.to_list())
    assert any("missing" in each.lower() for each in classifier.notes_)


def test_settings_of_a_method_are_passed_by_name():
    """A dictionary; a method itself is refused in words."""
    frame, y = mixed_frame()
    options = {"method": "forward", "method_options": {"transition": [[0.8, 0.2], [0.1, 0.9]]}}
    found = quick().set_params(**options).fit(frame, y)
    np.testing.assert_array_equal(found.transition_, [[0.8, 0.2], [0.1, 0.9]])
    options["method_options"] = {"transition": found.transition_}
    again = quick().set_params(**options).fit(frame, y)
    np.testing.assert_array_equal(again.predict_proba(frame), found.predict_proba(frame))
    with pytest.raises(ParameterError, match="cannot be of the type object"):
        quick().set_params(method="elr", method_options={"beta": object()}).fit(frame, y)
    with pytest.raises(ParameterError, match="method must be a name, got ELR"):
        quick().set_params(method=ELR()).fit(frame, y)


def test_what_a_method_learned_of_how_labels_are_confused_is_kept():
    """In the order of the classes; most methods know nothing of it."""
    frame, y = mixed_frame()
    assert quick().fit(frame, y).transition_ is None
    found = quick().set_params(method="volminnet").fit(frame, y)
    assert found.transition_.shape == (len(found.classes_),) * 2
    np.testing.assert_allclose(found.transition_.sum(axis=1), 1, rtol=1e-6)


def test_the_libraries_agree():
    """One data frame, three libraries, one classifier."""
    frame, y = mixed_frame()
    first, second, third = (
        quick().fit(library(frame), y).predict_proba(library(frame))
        for library in (as_pandas, as_polars, as_arrow)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_a_pandas_index_names_the_rows_of_the_audit_and_is_no_feature():
    """Not even one that gives the labels away."""
    frame, y = mixed_frame()
    telling = frame.set_index(pd.Index(y, name="kind"))
    first, second = quick().fit(frame, y), quick().fit(telling, y)
    assert frame.index.equals(first.audit_.index)
    assert 3 == second.n_features_in_
    np.testing.assert_array_equal(first.predict_proba(frame), second.predict_proba(telling))


def test_a_column_of_free_text_is_learned_where_it_is_named():
    """Beside others, and pickled with what it takes to read new texts."""
    random = np.random.default_rng(2)
    words = {"fruit": ["apple", "pear", "plum", "cherry"], "tool": ["hammer", "saw", "drill"]}
    y = np.repeat(["fruit", "tool"], 80)
    titles = [" ".join([*random.choice(words[each], 3), str(row)]) for row, each in enumerate(y)]
    X = pd.DataFrame({"title": titles, "size": random.normal(size=160)})
    classifier = quick(text="title", epochs=10).fit(X, y)
    assert classifier.score(X, y) > 0.95
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(classifier.predict_proba(X), again.predict_proba(X))


def test_columns_without_names_are_taken_by_their_position():
    """As of a frame made from an array; the array is as good."""
    X, y = load_iris(return_X_y=True)
    classifier = quick().fit(pd.DataFrame(X), y)
    assert not hasattr(classifier, "feature_names_in_")
    np.testing.assert_array_equal(
        classifier.predict_proba(pd.DataFrame(X)), classifier.predict_proba(X)
    )


def test_a_frame_after_an_array_is_taken_by_position_with_a_warning():
    """And an array after a frame of numbers: scikit-learn's rule."""
    frame, y = load_iris(return_X_y=True, as_frame=True)
    X = frame.to_numpy()
    with pytest.warns(UserWarning, match="fitted without feature names"):
        found = quick().fit(X, y).predict(frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        again = quick().fit(frame, y).predict(X)
    assert (found == y).mean() > 0.8
    assert (again == y).mean() > 0.8


def test_categories_cannot_be_predicted_from_an_array():
    """What stands where is not known."""
    frame, y = mixed_frame()
    classifier = quick().fit(frame, y)
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="trained on a table"),
    ):
        classifier.predict(np.zeros((2, 3)))


@pytest.mark.parametrize("colours", [None, 1, 3])
def test_images_go_through_the_network_for_images(colours):
    """(N, H, W) or (N, H, W, C) uint8; a pixel's number counts as a feature."""
    images, y = shipped.digits(300)
    X = images if colours is None else np.repeat(images[..., None], colours, axis=3)
    classifier = quick(epochs=6).fit(X, y)
    assert "cnn" == classifier.model_.name
    assert 64 * (colours or 1) == classifier.n_features_in_
    assert classifier.score(X, y) > 0.7
    with pytest.raises(ValueError, match="features"):
        classifier.predict(X[:, :4])


def test_tensors_are_arrays():
    """Of features and of pixels."""
    images, y = shipped.digits(200)
    for X in (images, images.reshape(200, -1).astype(np.float32)):
        classifier = quick(epochs=2).fit(X, y)
        np.testing.assert_array_equal(
            classifier.predict_proba(X), classifier.predict_proba(torch.from_numpy(X))
        )


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["b", " b", "10"], dtype=object),
        np.array([7, -3, 1000], dtype=np.int16),
        np.array([2.0, 0.0, 10.0]),
    ],
)
def test_classes_are_those_of_y_and_keep_its_type(classes):
    """Sorted as scikit-learn sorts; predictions are of them."""
    X, places = load_iris(return_X_y=True)
    y = classes[places]
    classifier = quick(epochs=6).fit(X, y)
    np.testing.assert_array_equal(np.unique(y), classifier.classes_, strict=True)
    predicted = classifier.predict(X)
    assert y.dtype == predicted.dtype
    assert (predicted == y).mean() > 0.8
    given = classifier.audit_["given_label"].to_pylist()
    assert [str(each) for each in y] == given


def test_two_classes_may_be_true_and_false():
    X, y = load_breast_cancer(return_X_y=True)
    classifier = quick().fit(X, y == 1)
    assert [False, True] == classifier.classes_.tolist()
    assert classifier.score(X, y == 1) > 0.9


def test_many_classes_are_no_measurements():
    """Sixty whole numbers, five samples each."""
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(60), 5)
    X = np.eye(60, dtype=np.float32)[y] + random.normal(0, 0.01, (300, 60))
    assert np.array_equal(np.arange(60), quick(epochs=1).fit(X, y).classes_)


# ---------------------------------------------------------------------- what it refuses
def refused(X, y, message, **settings):
    with pytest.raises(ValueError, match=message):
        quick(**settings).fit(X, y)


def test_what_cannot_be_learned_from_is_refused_with_the_reason():
    """As a ValueError, which scikit-learn's tools expect."""
    X, y = load_iris(return_X_y=True)
    frame, kinds = mixed_frame()
    refused(X, np.zeros(150), "one class only")
    refused(X, np.where(np.arange(150) == 3, 5, y), 'class "5" has one sample only')
    refused(X, X[:, 0], "continuous")
    refused(X, np.where(np.arange(150) == 3, np.nan, y), "NaN")
    refused(np.full((150, 2), np.nan), y, "empty")
    refused(X, y[:-1], "inconsistent numbers of samples")
    refused(frame, kinds[:-1], "inconsistent numbers of samples")
    refused(frame.assign(size=np.inf), kinds, "infinite")
    refused(X.reshape(150, 2, 2), y, "3")
    refused(X, y, "text names the column title, and X has no names", text="title")


def test_settings_are_checked_by_fit_and_not_before():
    """As scikit-learn wants it."""
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ParameterError, match=r'no method "selfy"\. Did you mean "selfie"'):
        quick(method="selfy").fit(X, y)
    with pytest.raises(ParameterError, match="epochs must be at least 1"):
        quick(epochs=0).fit(X, y)
    with pytest.raises(ModelError, match='no model "cn"'):
        quick(model="cn").fit(X, y)


def test_images_that_cannot_be_read_are_refused():
    """Every row of X needs an answer."""
    frame = shipped.image_table(60)
    X, y = frame[["image"]], frame["label"]
    classifier = quick(epochs=1).fit(X, y)
    assert (60,) == classifier.predict(X).shape
    X = X.copy()
    X.iloc[7, 0] = b"no picture"
    with pytest.raises(ValueError, match="1 images cannot be read, the first in row 7"):
        classifier.predict(X)
    refused(X, y, "the first in row 7", epochs=1)


def test_nothing_is_predicted_before_fit():
    with pytest.raises(NotFittedError):
        quick().predict([[1.0]])


# ---------------------------------------------------------------------- further data
def foreign_rows(X):
    """Rows of no class: every number from another sample."""
    random = np.random.default_rng(1)
    return np.stack([random.permutation(column) for column in np.asarray(X).T], axis=1)


@pytest.mark.parametrize("method", ["taufe", "oat", "odnl"])
def test_auxiliary_data_give_the_classifier_of_fit(tmp_path, method):
    """The same numbers as the run folder of the same seed, and others than without them."""
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    classifier = quick(method=method, epochs=2).fit(X, y, auxiliary=foreign_rows(X)[:40])
    folder = tmp_path / "run.py"  # the suffix that the fixture above allows
    thresher.fit(
        (X, y), auxiliary=foreign_rows(X)[:40], method=method, epochs=2, validation=0,
        device="cpu", out=folder,
    )  # fmt: skip
    found = thresher.predict(folder, X, device="cpu").probabilities
    np.testing.assert_allclose(found, classifier.predict_proba(X), atol=1e-6)
    plain = quick(epochs=2, method="standard").fit(X, y)
    assert not np.allclose(found, plain.predict_proba(X), atol=1e-4)


def test_auxiliary_data_are_like_the_others_in_every_form():
    """A data frame with categories, images; columns by name, whatever their order."""
    frame, kinds = mixed_frame()
    other = frame.iloc[:50, ::-1].sample(frac=1, random_state=0)
    assert quick(method="oat").fit(frame, kinds, auxiliary=other).score(frame, kinds) > 0.7
    images, y = shipped.digits(100)
    assert quick(method="taufe", epochs=1).fit(images, y, auxiliary=255 - images[:30]).model_


def test_auxiliary_data_pass_through_cross_validation():
    """As an argument of fit, they are no setting: clones and grids know nothing of them."""
    X, y = load_iris(return_X_y=True)
    estimator = quick(method="oat", epochs=2)
    assert "auxiliary" not in clone(estimator).get_params()
    scores = cross_val_score(estimator, X, y, cv=2, params={"auxiliary": foreign_rows(X)[:40]})
    assert (2,) == scores.shape
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("method", "auxiliary", "message"),
    [
        ("taufe", None, r"learns from the data stream.*fit\(X, y, auxiliary=…\)"),
        ("elr", np.zeros((5, 4)), "learns from no further data"),
        ("oat", np.zeros((5, 3)), "auxiliary data.*3 numbers per row, the training data have 4"),
        ("oat", np.zeros(5), "auxiliary|1D array"),
        ("oat", np.zeros((5, 8, 8), np.uint8), "auxiliary data.*holds images"),
        ("oat", pd.DataFrame({"a": [1.0]}), "auxiliary data.*columns have names"),
    ],
)
def test_auxiliary_data_that_do_not_fit_are_refused(method, auxiliary, message):
    """Missing, of no use, of another shape or kind."""
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        quick(method=method).fit(X, y, auxiliary=auxiliary)


def test_rows_known_to_be_out_of_distribution_are_marked():
    """In the history that the method asks, and said."""
    X, y = load_iris(return_X_y=True)
    marks = np.arange(150) % 10 == 0
    classifier = quick(epochs=1).fit(X, y, out_of_distribution=marks)
    assert "Known to be out of distribution: 15 samples." in classifier.notes_
    with pytest.raises(ValueError, match="holds 3 marks for 150 rows"):
        quick(epochs=1).fit(X, y, out_of_distribution=marks[:3])


# ---------------------------------------------------------------------- what it gives
def noisy_digits(rows=1000, share=0.3, seed=3):
    """Features, given labels of which a share is wrong, true labels."""
    X, true = load_digits(return_X_y=True)
    return X[:rows], shipped.spoiled(true[:rows], share, seed), true[:rows]


def test_the_audit_finds_wrong_labels_and_their_share():
    """Three in ten are wrong; most of those flagged are."""
    X, given, true = noisy_digits()
    classifier = quick(epochs=15).fit(X, given)
    audit = classifier.audit_.to_pandas()
    wrong = given != true
    assert wrong[audit["is_label_issue"]].mean() > 0.8
    assert audit["is_label_issue"][wrong].mean() > 0.6
    assert abs(classifier.noise_rate_ - 0.3) < 0.1
    assert classifier.score(X, true) > 0.8


def test_a_seed_gives_the_classifier_of_fit(tmp_path):
    """The same numbers as the run folder of the same seed."""
    X, given, _ = noisy_digits(300)
    X = X.astype(np.float32)
    classifier = quick(random_state=5).fit(X, given)
    folder = tmp_path / "run.py"  # the suffix that the fixture above allows
    done = thresher.fit((X, given), epochs=4, seed=5, device="cpu", out=folder)
    found = thresher.predict(folder, X, device="cpu").probabilities
    np.testing.assert_allclose(found, classifier.predict_proba(X), atol=1e-6)
    assert classifier.noise_rate_ == done.summary["noise_rate_estimate"]


def test_random_states_follow_scikit_learns_rules():
    """A number repeats itself; a generator goes on; None follows NumPy's own."""
    X, y, _ = noisy_digits(200)

    def fitted(state):
        return quick(epochs=1, random_state=state).fit(X, y).predict_proba(X)

    np.testing.assert_array_equal(fitted(1), fitted(1))
    assert not np.array_equal(fitted(1), fitted(2))
    state = np.random.RandomState(0)
    first, second = fitted(state), fitted(state)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, fitted(np.random.RandomState(0)))
    np.random.seed(0)  # what is tested
    np.testing.assert_array_equal(first, fitted(None))


def test_probabilities_sum_to_one_for_scikit_learns_metrics():
    """Without a warning, which float32 sums would cause."""
    X, y, _ = noisy_digits(300)
    probability = quick().fit(X, y).predict_proba(X)
    assert np.float64 == probability.dtype
    np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-12)
    assert log_loss(y, probability) < np.log(10)


def test_bfloat16_is_close_to_float32():
    X, y = load_breast_cancer(return_X_y=True)
    first, second = (
        quick(precision=each).fit(X, y).predict_proba(X)[:, 1] for each in ("fp32", "bf16")
    )
    assert not np.array_equal(first, second)
    assert np.abs(first - second).mean() < 0.03


# ---------------------------------------------------------------------- in scikit-learn's tools
def test_it_is_the_last_step_of_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), quick()).fit(X, y)
    assert pipeline.score(X, y) > 0.9
    assert len(X) == len(pipeline[-1].audit_)


def test_it_is_cross_validated():
    X, y = load_breast_cancer(return_X_y=True)
    scores = cross_val_score(make_pipeline(StandardScaler(), quick()), X, y, cv=3)
    assert scores.min() > 0.85


def test_its_settings_are_searched():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(quick(), {"method": ["standard", "elr"], "epochs": [1, 8]}, cv=2)
    search.fit(X, y)
    assert 8 == search.best_params_["epochs"]
    assert search.best_score_ > 0.8


def test_a_clone_has_the_settings_and_no_training():
    X, y = load_iris(return_X_y=True)
    classifier = quick(learning_rate=0.02).fit(X, y)
    copy = clone(classifier)
    assert classifier.get_params() == copy.get_params()
    assert not hasattr(copy, "classes_")


NETWORK = """
from torch import nn

class Own(nn.Sequential):
    def __init__(self, shape, classes):
        super().__init__(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, classes))
"""


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "images"),
        ({"method": "co-teaching"}, "images"),
        ({"model": "resnet18", "epochs": 1}, "images"),
        ({}, "features"),
        ({"precision": "bf16"}, "features"),
        ({"model": "own_for_pickle:Own"}, "features"),
        ({}, "table"),
    ],
)
def test_a_pickle_gives_the_same_probabilities(settings, kind, tmp_path):
    """Bit for bit; and it holds tensors and plain values, no network."""
    (tmp_path / "own_for_pickle.py").write_text(NETWORK)
    if kind == "table":
        X, y = mixed_frame()
    else:
        X, y = shipped.digits(100)
        X = X if kind == "images" else X.reshape(len(X), -1)
    classifier = quick(**{"epochs": 2} | settings).fit(X, y)
    before = classifier.predict_proba(X)
    written = pickle.dumps(classifier)
    assert b"thresher.models" not in written.replace(b"thresher.models.preparation", b"")
    assert b"torch.nn" not in written
    assert b"own_for_pickle\n" not in written
    again = pickle.loads(written)
    np.testing.assert_array_equal(before, again.predict_proba(X))
    np.testing.assert_array_equal(before, classifier.predict_proba(X))
    assert classifier.get_params() == again.get_params()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # at the end, by its default of 200
def test_on_wrong_labels_it_beats_a_network_trained_to_the_end():
    """Digits, three labels in ten wrong, clean test rows; scikit-learn's network of that shape."""
    X, given, true = noisy_digits(1797)
    train, test = slice(0, 1300), slice(1300, None)
    plain = make_pipeline(StandardScaler(), MLPClassifier((256, 128), random_state=0))
    plain.fit(X[train], given[train])
    robust = RobustClassifier(device="cpu", random_state=0).fit(X[train], given[train])
    assert robust.score(X[test], true[test]) > plain.score(X[test], true[test]) + 0.1


@pytest.mark.parametrize(("method", "rows"), [("standard", 0), ("auto", 15)])
def test_rows_are_held_out_only_where_the_method_needs_them(method, rows):
    """Who uses scikit-learn has a validation of their own."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = RobustClassifier(method=method, epochs=1, random_state=0).fit(X, y)
    assert (classifier.audit_["split"] == "held-out").sum() == rows
