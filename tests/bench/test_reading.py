"""Problems: parts that do not overlap, and a truth that only the evaluator has."""

import numpy as np
import pandas as pd
import pytest

from thresher.bench.noise_spec import parse_noise
from thresher.bench.reading import make_problem, open_source, refuse_problems
from thresher.bench.settings import BenchSettings, chosen_noises
from thresher.errors import DataError, LabelError, ParameterError


@pytest.fixture
def table(tmp_path):
    """Two hundred rows of two numbers, given labels, a fifth of them wrong, and the true ones."""
    random = np.random.default_rng(0)
    true = np.arange(200) % 4
    given = np.where(np.arange(200) % 5 == 0, (true + 1) % 4, true)
    frame = pd.DataFrame(
        {
            "x": true + random.normal(size=200),
            "z": np.arange(200.0),  # names the row
            "label": [f"c{each}" for each in given],
            "gold": [f"c{each}" for each in true],
        }
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def rows_of(samples):
    """The numbers of the rows."""
    return set(samples.inputs[:, 1].astype(int).tolist())


def test_training_validation_and_test_do_not_overlap(table):
    """And are all of the data together."""
    source = open_source(BenchSettings(data=str(table), true="gold"))
    posed = make_problem(source, parse_noise("given"), 0, validation=0.1)
    parts = [posed.problem.samples, posed.validation, posed.problem.truth.test]
    rows = [rows_of(each) for each in parts]
    assert [len(each) for each in rows] == [135, 15, 50]
    assert set().union(*rows) == set(range(200))


def test_given_labels_are_trained_and_true_ones_compared(table):
    """Test labels are true; validation labels are as wrong as those that are trained."""
    source = open_source(BenchSettings(data=str(table), true="gold"))
    posed = make_problem(source, parse_noise("given"), 0, validation=0.1)
    problem = posed.problem
    row = problem.samples.inputs[:, 1].astype(int)
    np.testing.assert_array_equal(row % 4, problem.truth.labels)
    np.testing.assert_array_equal(row % 5 == 0, problem.bad)
    tested = problem.truth.test
    np.testing.assert_array_equal(tested.inputs[:, 1].astype(int) % 4, tested.labels)
    validated = posed.validation.inputs[:, 1].astype(int)
    wrong = posed.validation.labels != validated % 4
    np.testing.assert_array_equal(validated % 5 == 0, wrong)


def test_the_truth_is_no_feature_and_not_handed_on(table):
    """Neither within the inputs nor beside the samples."""
    source = open_source(BenchSettings(data=str(table), true="gold"))
    posed = make_problem(source, parse_noise("given"), 0, validation=0.1)
    for samples in (posed.problem.samples, posed.validation):
        assert samples.inputs.shape[1] == 2
        assert samples.aside is None
        assert "gold" not in samples.encoding.sources


def test_the_same_rows_are_trained_under_every_noise(table):
    """And others from another seed."""
    source = open_source(BenchSettings(data=str(table), true="gold"))
    found = [
        make_problem(source, parse_noise(noise), seed, validation=0.1).problem
        for noise, seed in (("none", 0), ("symmetric:0.4", 0), ("none", 1))
    ]
    assert rows_of(found[0].samples) == rows_of(found[1].samples)
    assert rows_of(found[0].samples) != rows_of(found[2].samples)
    assert found[0].bad.mean() == 0
    assert found[1].bad.mean() == pytest.approx(0.4, abs=0.01)


def test_rows_without_a_label_are_left_out(table):
    """Neither trained nor compared, and said."""
    frame = pd.read_csv(table)
    frame.loc[:3, "gold"] = None
    frame.loc[10, "label"] = None
    frame.to_csv(table, index=False)
    source = open_source(BenchSettings(data=str(table), true="gold"))
    assert len(source.samples) == 195
    assert any("5 rows without a label" in note for note in source.notes)


def test_test_data_of_their_own_are_all_tested(table, tmp_path):
    """With the true column if they have it, else with their labels."""
    frame = pd.read_csv(table)
    frame[:40].to_csv(tmp_path / "test.csv", index=False)
    settings = BenchSettings(data=str(table), true="gold", test=str(tmp_path / "test.csv"))
    posed = make_problem(open_source(settings), parse_noise("given"), 0, validation=0)
    assert len(posed.problem.samples) == 200
    assert posed.validation is None
    np.testing.assert_array_equal(np.arange(40) % 4, posed.problem.truth.test.labels)
    frame[:40].drop(columns="label").to_csv(tmp_path / "test.csv", index=False)
    posed = make_problem(open_source(settings), parse_noise("given"), 0, validation=0)
    np.testing.assert_array_equal(np.arange(40) % 4, posed.problem.truth.test.labels)
    frame[:40].drop(columns="gold").to_csv(tmp_path / "test.csv", index=False)
    posed = make_problem(open_source(settings), parse_noise("given"), 0, validation=0)
    assert (posed.problem.truth.test.labels != np.arange(40) % 4).sum() == 8


@pytest.mark.parametrize("kept", [["x", "z", "gold"], ["x", "z", "label", "gold"]])
def test_a_true_label_of_no_class_is_refused_in_test_data_too(table, tmp_path, kept):
    """Their given labels, some of them wrong, do not stand in for it."""
    frame = pd.read_csv(table)[:40]
    frame.loc[7, "gold"] = "c9"
    frame[kept].to_csv(tmp_path / "test.csv", index=False)
    settings = BenchSettings(data=str(table), true="gold", test=str(tmp_path / "test.csv"))
    with pytest.raises(LabelError, match=r'the class "c9".*the training data lack'):
        open_source(settings)


def test_a_true_array_of_another_length_is_refused_in_test_data(tmp_path):
    """It is there: the given labels do not stand in for it."""
    true = np.arange(40) % 2
    inputs = np.random.default_rng(0).normal(size=(40, 2)) + true[:, None]
    np.savez(tmp_path / "data.npz", X=inputs, y=true, gold=true)
    np.savez(tmp_path / "test.npz", X=inputs, y=true, gold=true[:-1])
    settings = BenchSettings(
        data=str(tmp_path / "data.npz"), true="gold", test=str(tmp_path / "test.npz")
    )
    with pytest.raises(DataError, match="gold holds 39"):
        open_source(settings)


def test_what_cannot_be_compared_is_refused(table):
    """A column that is not there, a class that is never given, a class of too few rows."""
    with pytest.raises(DataError, match='no column "gould"'):
        open_source(BenchSettings(data=str(table), true="gould"))
    frame = pd.read_csv(table)
    frame.assign(gold="unseen").to_csv(table, index=False)
    with pytest.raises(LabelError, match="which the training data lack"):
        open_source(BenchSettings(data=str(table), true="gold"))
    frame.assign(label=["c0"] * 197 + ["c1"] * 3)[["x", "z", "label"]].to_csv(table, index=False)
    source = open_source(BenchSettings(data=str(table)))
    with pytest.raises(ParameterError, match='class "c1" has 1 rows'):
        make_problem(source, parse_noise("none"), 0, validation=0.3)


def test_every_noise_is_posed_before_anything_is_trained(table):
    """Rows, classes and rates that do not fit are refused in the user's own numbers."""
    source = open_source(BenchSettings(data=str(table)))
    every = "none,symmetric:0.4,pair:0.4,class-dependent:0.5,instance:0.4,asymmetric:0.2:c0>c1"
    refuse_problems(source, chosen_noises(every, None), 0.1)
    for noise, match in (
        ("none,class-dependent:0.6", r'"class-dependent:0.6".*1.75 times 0.6\. .*below 0.571'),
        ("asymmetric:0.4", "does not say which"),
    ):
        with pytest.raises(ParameterError, match=match):
            refuse_problems(source, chosen_noises(noise, None), 0.1)
    few = open_source(BenchSettings(data=str(table), limit=8))
    with pytest.raises(ParameterError, match=r"has 1 rows to train on .*raise --limit"):
        refuse_problems(few, chosen_noises("none", None), 0.1)
    frame = pd.read_csv(table)
    frame[frame.label.isin(["c0", "c1"])].to_csv(table, index=False)
    two = open_source(BenchSettings(data=str(table), label="label"))
    with pytest.raises(ParameterError, match="two others, and there are 2 classes"):
        refuse_problems(two, chosen_noises("class-dependent:0.2", None), 0.1)


def test_what_is_refused_of_one_seed_is_refused_of_every(table):
    """Its parts are as large as those of any other."""
    frame = pd.read_csv(table)[:61]
    frame.to_csv(table, index=False)
    source = open_source(BenchSettings(data=str(table), label="label"))
    found = {
        tuple(
            np.bincount(
                make_problem(
                    source, parse_noise("none"), seed, validation=0.1
                ).problem.samples.labels
            )
        )
        for seed in range(20)
    }
    assert len(found) == 1


def test_the_digits_are_there_wherever_thresher_is():
    """Ten classes of 64 numbers; a sample of them keeps every class."""
    source = open_source(BenchSettings(limit=300))
    assert source.samples.inputs.shape == (300, 64)
    assert len(source.samples.classes) == 10


def test_the_fingerprint_is_of_given_and_true_labels(table):
    """Another one where either differs."""
    found = {open_source(BenchSettings(data=str(table), true="gold")).fingerprint}
    frame = pd.read_csv(table)
    for column in ("gold", "label"):
        changed = frame.copy()
        changed.loc[0, column] = "c3"
        changed.to_csv(table, index=False)
        found.add(open_source(BenchSettings(data=str(table), true="gold")).fingerprint)
    assert len(found) == 3


def test_the_fingerprint_is_of_the_groups_that_are_compared(table):
    """Another one where a sample is of another group, or its group is not compared."""
    frame = pd.read_csv(table).assign(town="a")
    frame.to_csv(table, index=False)
    settings = BenchSettings(data=str(table), true="gold", group_report="town")
    found = {open_source(settings).fingerprint}
    frame.loc[0, "town"] = "b"
    frame.to_csv(table, index=False)
    found.add(open_source(settings).fingerprint)
    assert len(found) == 2


def test_test_data_without_the_groups_are_said_aloud(table, tmp_path):
    """The comparison of their groups is missing from the report, and not without a word."""
    frame = pd.read_csv(table)
    frame["town"] = np.where(frame.index % 2, "a", "b")
    frame.to_csv(table, index=False)
    frame.drop(columns="town").to_csv(tmp_path / "test.csv", index=False)
    settings = BenchSettings(
        data=str(table), true="gold", group_report="town", test=str(tmp_path / "test.csv")
    )
    assert any('no column "town"' in each for each in open_source(settings).notes)
    frame.to_csv(tmp_path / "test.csv", index=False)
    assert not any("town" in each for each in open_source(settings).notes)
