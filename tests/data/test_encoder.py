"""Texts through an encoder of the user's, found by its name."""

import json
import sys
import types

import numpy as np
import pyarrow as pa
import pytest

import thresher
from thresher.data import Encoding, open_data
from thresher.data.encoder import embed_texts, load_encoder
from thresher.errors import MissingPackageError, ModelError
from thresher.trained_model import TrainedModel

TABLE = pa.table({"t": ["a", "bb", None, "ccc"], "x": [1, 2, 3, 4], "label": list("pqpq")})


class Lengths:
    """Length of a text, and its square."""

    def encode(self, texts):
        return [[len(text), len(text) ** 2] for text in texts]


@pytest.fixture
def encoders(tmp_path, monkeypatch):
    """A module of encoders in the current directory."""
    (tmp_path / "my_encoders.py").write_text(
        "class Lengths:\n"
        "    def encode(self, texts):\n"
        "        return [[len(text), len(text) ** 2] for text in texts]\n"
        "class Ragged(Lengths):\n"
        "    def encode(self, texts):\n"
        "        return [[0.0] * len(text) for text in texts]\n"
        "class Few(Lengths):\n"
        "    def encode(self, texts):\n"
        "        return [[1.0, 2.0]] * (len(texts) + 1)\n"
        "class Flat(Lengths):\n"
        "    def encode(self, texts):\n"
        "        return [1.0] * len(texts)\n"
        "class Infinite(Lengths):\n"
        "    def encode(self, texts):\n"
        "        return [[float('nan')] for _ in texts]\n"
        "def broken():\n"
        "    raise RuntimeError('no such weights')\n"
        "def nothing():\n"
        "    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield
    sys.modules.pop("my_encoders", None)


@pytest.mark.usefixtures("encoders")
def test_vectors_of_an_encoder_are_features_beside_others():
    samples = open_data(TABLE, text=["t"], encoder="my_encoders:Lengths")
    assert ("t text 1", "t text 2", "t missing", "x") == samples.encoding.features
    assert [[1, 1, 0, 1], [2, 4, 0, 2], [0, 0, 1, 3], [3, 9, 0, 4]] == samples.inputs.tolist()
    assert TABLE["t"].to_pylist() == samples.texts["t"].to_pylist()


@pytest.mark.usefixtures("encoders")
def test_new_data_go_through_the_encoder_of_training():
    samples = open_data(TABLE, text=["t"], encoder="my_encoders:Lengths")
    stored = Encoding.from_json(json.loads(json.dumps(samples.encoding.to_json())))
    assert samples.encoding == stored
    new = open_data(pa.table({"t": ["dddd"], "x": [5]}), encoding=stored, labelled=False)
    assert [[4, 16, 0, 5]] == new.inputs.tolist()


@pytest.mark.usefixtures("encoders")
def test_a_run_keeps_the_name_of_its_encoder(tmp_path):
    many = pa.concat_tables([TABLE] * 10)
    done = thresher.fit(
        many, text=["t"], encoder="my_encoders:Lengths", epochs=2, out=tmp_path / "run"
    )
    loaded = TrainedModel.load(done.run.model)
    new = pa.table({"t": ["dddd", "e"], "x": [5, 6]})
    found, expected = (each.probabilities(each.read(new)) for each in (loaded, done.model))
    np.testing.assert_array_equal(expected, found)


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_encoders:broken", "cannot be made: RuntimeError: no such weights"),
        ("my_encoders:Absent", "cannot be made: AttributeError"),
        ("no_such_module:make", "cannot be made: ModuleNotFoundError"),
        ("my_encoders:nothing", "is a int without a method encode"),
        ("my_encoders:Ragged", "fails: ValueError"),
        ("my_encoders:Few", r"answers 2 texts with an array of shape \(3, 2\)"),
        ("my_encoders:Flat", r"shape \(2,\)"),
        ("my_encoders:Infinite", "NaN or infinity"),
    ],
)
def test_encoders_that_do_not_do_are_refused(name, words):
    texts = pa.chunked_array([["a", "bb"]], pa.large_string())
    with pytest.raises(ModelError, match=words) as caught:
        embed_texts(name, load_encoder(name), texts)
    assert caught.value.fix


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingPackageError) as caught:
        open_data(TABLE, text=["t"], encoder="all-MiniLM-L6-v2")
    assert "pip install sentence-transformers" in caught.value.fix


@pytest.fixture
def sentence_transformers(monkeypatch):
    """A stand-in that knows one model on the disk; what it was asked is kept."""
    asked = []

    def load(name, **named):
        asked.append((name, named))
        if name != "known":
            raise OSError("no such file\nand a long tale")
        return Lengths()

    package = types.ModuleType("sentence_transformers")
    package.SentenceTransformer = load
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    return asked


def test_a_named_model_is_looked_for_on_this_disk_only(sentence_transformers):
    samples = open_data(TABLE, text=["t"], encoder="known")
    assert [1, 2, 0, 3] == samples.inputs[:, 0].tolist()
    assert all(("known", {"local_files_only": True}) == each for each in sentence_transformers)


def test_a_model_that_is_not_on_this_disk_is_not_downloaded(sentence_transformers):
    with pytest.raises(ModelError, match=r"not on this disk") as caught:
        load_encoder("other")
    assert caught.value.cause.endswith("no such file")
    assert "downloads nothing" in caught.value.fix
    assert 1 == len(sentence_transformers)


def test_texts_are_encoded_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr("thresher.data.encoder.BLOCK_ROWS", 3)
    texts = pa.chunked_array([["a" * size for size in range(4)], ["b" * 9]], pa.large_string())
    assert [0, 1, 2, 3, 9] == embed_texts("x", Lengths(), texts)[:, 0].tolist()


@pytest.mark.parametrize("answer", [np.zeros((2, 0)), np.zeros((2, 2, 2))])
def test_vectors_without_a_number_are_refused(answer):
    encoder = types.SimpleNamespace(encode=lambda texts: answer)
    with pytest.raises(ModelError, match="answers 2 texts with an array of shape"):
        embed_texts("x:y", encoder, pa.chunked_array([["a", "b"]]))
