"""Columns of free text: n-grams, weights, projection; and what is said of them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

import thresher
from thresher.data import Encoding, open_data
from thresher.data.text import fit_text, looks_like_text, read_free_texts, text_vectors
from thresher.errors import DataError
from thresher.trained_model import TrainedModel

FARM = ["wheat", "barley", "oats", "millet", "sorghum", "harvest", "barn", "straw", "sickle"]
TOWN = ["tram", "metro", "kiosk", "cinema", "traffic", "library", "museum", "bakery", "bridge"]


def sentences(rows=120, seed=0):
    """Texts of two topics, which share no word but a few fillers, and their topics."""
    random = np.random.default_rng(seed)
    topics = random.integers(0, 2, rows)
    texts = [
        " ".join([*random.choice((FARM, TOWN)[topic], 6), *random.choice(["the", "and", "of"], 3)])
        for topic in topics
    ]
    return texts, np.array(["farm", "town"])[topics]


def frame(rows=120, seed=0, **columns):
    texts, topics = sentences(rows, seed)
    return pd.DataFrame({"title": texts, "label": topics, **columns})


def large(texts):
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def vectors(column, texts):
    found = np.zeros((len(texts), len(column.components)), np.float32)
    text_vectors(column, large(texts), found)
    return found


def test_texts_become_vectors_of_length_one_with_names():
    samples = open_data(frame(), text=["title"])
    count = len(samples.encoding.features)
    assert (f"title text {count}", "title text 1") == samples.encoding.features[:: 1 - count]
    assert (120, count) == samples.inputs.shape
    assert np.float32 == samples.inputs.dtype
    np.testing.assert_allclose(1, np.linalg.norm(samples.inputs, axis=1), rtol=1e-6)


def test_texts_of_one_topic_are_nearer_to_each_other():
    samples = open_data(frame(), text=["title"])
    alike = samples.inputs @ samples.inputs.T
    same = samples.labels[:, None] == samples.labels
    assert alike[same].mean() > alike[~same].mean() + 0.3


def test_similarities_are_those_of_scikit_learn():
    """Its n-grams are words' own too; buckets of n-grams seldom coincide, so nearly the same."""
    texts, _ = sentences(200)
    ours = vectors(fit_text(["t"], large(texts)), texts)
    weights = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2
    ).fit_transform(texts)
    theirs = TruncatedSVD(ours.shape[1], algorithm="arpack").fit_transform(weights)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    # char_wb counts a word shorter than the run once more; here each is longer, or a filler
    apart = np.abs(ours @ ours.T - theirs @ theirs.T)
    assert 0.02 > apart.mean()


def test_idf_is_the_textbook_formula():
    texts = ["ab cd", "ab ef", "ab", "cd"]
    column = fit_text(["t"], large(texts))
    holding = [3] * 6 + [2] * 6  # "ab" makes six n-grams, "cd" as many; those of "ef" are single
    expected = sorted(1 + np.log(5 / (1 + np.array(holding))))
    np.testing.assert_allclose(expected, np.sort(column.idf), rtol=1e-6)


def test_directions_are_orthogonal_and_no_more_than_the_texts_span():
    texts, _ = sentences(60)
    for few in (texts, texts[:3], texts[:1], ["a", "a", "a"], ["x"] * 30 + ["y"] * 30):
        column = fit_text(["t"], large(few))
        products = column.components.astype(float) @ column.components.astype(float).T
        np.testing.assert_allclose(np.eye(len(products)), products, atol=2e-3)  # float16
        assert 1 <= len(column.components) <= min(128, len(set(few)))


def test_the_fit_looks_at_a_sample_and_never_at_new_data(monkeypatch):
    texts, _ = sentences(300)
    monkeypatch.setattr("thresher.data.text.MOST_ROWS", 50)
    column = fit_text(["t"], large(texts))
    assert len(column.components) <= 50
    again = fit_text(["t"], large(texts))
    assert column == again
    new = vectors(column, ["wheat in the barn", "unknown words only"])
    alone = vectors(column, ["wheat in the barn"])
    np.testing.assert_array_equal(new[:1], alone)


def test_long_texts_are_sampled_by_their_characters(monkeypatch):
    monkeypatch.setattr("thresher.data.text.MOST_CHARACTERS", 100)
    column = fit_text(["t"], large(["abcdefgh " * 10, "abcdefgh ijkl " * 10, "zz"] * 20))
    assert len(column.components) <= 4


def test_features_do_not_depend_on_the_number_of_threads():
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.add(open_data(frame(400), text=["title"]).fingerprint)
    assert 1 == len(found)


@pytest.mark.parametrize("empty", [None, "", "  \t"])
def test_empty_texts_are_flagged_and_said(empty):
    data = frame(30)
    data.loc[[4, 9], "title"] = empty
    samples = open_data(data, text=["title"])
    assert "title missing" == samples.encoding.features[-1]
    assert [4, 9] == np.flatnonzero(samples.inputs[:, -1]).tolist()
    assert not samples.inputs[4, :-1].any()
    assert any('texts have a feature of their own: "title" (2 rows)' in n for n in samples.notes)


def test_marks_of_a_missing_value_are_words_of_a_text():
    data = frame(30)
    data.loc[3, "title"] = "None"
    assert "title missing" not in open_data(data, text=["title"]).encoding.features


def test_several_texts_are_read_as_one_beside_other_columns():
    data = frame(40, body=[f"{word} and so on" for word in 4 * (FARM + TOWN[:1])])
    data["price"] = np.arange(40) * 1.5
    data.loc[3, "body"] = None
    data.loc[5, ["body", "title"]] = None
    samples = open_data(data, text=["title", "body"])
    features = samples.encoding.features
    assert ("title", "body") == samples.encoding.texts
    assert ("title + body text 1", "title + body missing") == (features[0], features[-2])
    assert {"price": features.index("price")} == samples.encoding.readable
    assert [5] == np.flatnonzero(samples.inputs[:, -2]).tolist()
    assert ["title", "body"] == samples.texts.column_names
    assert data["title"][:3].tolist() == samples.texts["title"][:3].to_pylist()
    one = data.assign(both=data["title"].fillna("") + " " + data["body"].fillna(""))
    alone = open_data(one[["both", "price", "label"]], text=["both"])
    np.testing.assert_array_equal(samples.inputs, alone.inputs)


def test_directions_weigh_alike_once_every_feature_is_scaled():
    """Else scaling would give the last direction, which is noise, the weight of the first."""
    samples = open_data(frame(400), text=["title"])
    spread = samples.inputs.std(axis=0)
    assert spread.max() < 3 * spread.min()


def test_texts_that_look_like_numbers_stay_text_in_a_csv(tmp_path):
    path = tmp_path / "data.csv"
    rows = "\n".join(f"00{row % 3},{'pq'[row % 2]}" for row in range(12))
    path.write_text(f"code,label\n{rows}\n")
    samples = open_data(path, text=["code"])
    assert ["000", "001", "002"] == samples.texts["code"][:3].to_pylist()
    path.write_text("code\n1\n2\n")
    new = open_data(path, encoding=samples.encoding, labelled=False)
    assert ["1", "2"] == new.texts["code"].to_pylist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (["titel"], 'no column "titel"'),
        (["label"], 'no column "label"'),
        (["price"], "values of type int64, expected text"),
        (["blank"], 'Column "blank" is empty'),
    ],
)
def test_what_is_no_text_is_refused(text, words):
    data = frame(12, price=range(12), blank=[" "] * 12)
    with pytest.raises(DataError, match=words) as caught:
        open_data(data, text=text)
    assert caught.value.fix


def test_new_data_must_hold_text_too():
    samples = open_data(frame(30), text=["title"])
    with pytest.raises(DataError, match="expected text"):
        open_data(pd.DataFrame({"title": [1, 2]}), encoding=samples.encoding, labelled=False)


def test_free_text_that_nobody_named_is_left_out_and_the_option_named():
    samples = open_data(frame(60, x=range(60)))
    assert ("x",) == samples.encoding.features
    assert samples.texts is None
    assert any('free text: "title"; ' in each and "--text title" in each for each in samples.notes)


def test_free_text_alone_is_no_ground_and_the_error_says_what_is():
    with pytest.raises(DataError, match="--text title") as caught:
        open_data(frame(60))
    assert "Name the text" in caught.value.fix


@pytest.mark.parametrize(
    ("cell", "is_text"),
    [
        ("Kimanin mata dubu hamsin", True),
        ("今日の天気は晴れです", True),
        ("2f5ae1c0-8d2b-4c7e-9e1f-0a6f3f9b2c11", False),
        ("Ada Lovelace", False),
        ("user_42", False),
    ],
)
def test_free_text_is_told_from_names_and_ids(cell, is_text):
    assert is_text == looks_like_text(large([cell, None]))


LETTERS = st.text(st.sampled_from("ab cé\u00a0\n語"), max_size=12)


@settings(max_examples=30, deadline=None)  # the first one imports scikit-learn
@given(texts=st.lists(st.one_of(st.none(), LETTERS), min_size=3, max_size=9))
def test_a_stored_encoding_gives_the_texts_back(texts):
    data = pa.table({"t": [*texts, "a word"], "label": ["p", "q", *"pq" * 4][: len(texts) + 1]})
    if len(set(data["label"].to_pylist())) < 2 or data.num_rows < 4:
        return
    samples = open_data(data, text=["t"])
    encoding = samples.encoding
    stored = Encoding.from_json(json.loads(json.dumps(encoding.to_json())), encoding.arrays())
    again = open_data(data, encoding=stored, classes=samples.classes)
    assert encoding == stored
    assert encoding.features == stored.features
    np.testing.assert_array_equal(samples.inputs, again.inputs)
    assert samples.sample_id == again.sample_id
    assert np.isfinite(samples.inputs).all()


def test_an_encoding_without_its_arrays_is_incomplete():
    encoding = open_data(frame(30), text=["title"]).encoding
    assert {"0/buckets", "0/idf", "0/components"} == set(encoding.arrays())
    with pytest.raises(DataError, match="incomplete"):
        Encoding.from_json(encoding.to_json())


def test_the_arrays_of_a_large_vocabulary_stay_below_ten_megabytes():
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [" ".join("".join(random.choice(letters, 5)) for _ in range(30)) for _ in range(800)]
    column = fit_text(["t"], large(texts))
    assert len(column.buckets) == 1 << 15
    assert sum(each.nbytes for each in column.arrays().values()) < 10e6


def test_a_saved_model_predicts_the_same_bits(tmp_path):
    data = frame(80, price=[1.5, None, 2.5, 4.0] * 20)
    done = thresher.fit(
        data, text=["title"], epochs=3, out=tmp_path / "run", device="cpu", batch_size=16
    )
    loaded = TrainedModel.load(done.run.model)
    new = frame(25, seed=1, price=[3.0] * 25)
    found, expected = (each.probabilities(each.read(new)) for each in (loaded, done.model))
    np.testing.assert_array_equal(expected, found)
    loaded.save(tmp_path / "again")
    weights = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert weights == (done.run.model / "model.safetensors").read_bytes()


def test_titles_are_learned(tmp_path):
    done = thresher.fit(
        frame(200),
        text=["title"],
        test=frame(100, seed=1),
        epochs=10,
        out=tmp_path / "run",
        device="cpu",
    )
    assert done.summary["test_accuracy"] > 0.95


def test_blank_texts_are_null_and_others_kept_as_they_stand():
    texts = read_free_texts(large([" a ", "", None, "\n"]), "t")
    assert [" a ", None, None, None] == texts.to_pylist()
    assert 4 == pc.count(texts, mode="all").as_py()
