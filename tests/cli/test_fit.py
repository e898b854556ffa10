"""`thresher fit`: one run of every kind of input, and what it leaves."""

import json
import re
import tomllib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

import shipped
from thresher.audit.table import read_table, table_facts
from thresher.data import open_data

KEYS = {
    "schema": int,
    "run": str,
    "n": int,
    "classes": list,
    "method": str,
    "sampler": str,
    "epochs": int,
    "noise_rate_estimate": float,
    "n_label_issues": int,
    "n_without_verdict": int,
    "validation_accuracy": float,
    "validation_rows": int,
    "seconds": float,
    "peak_mib": float,
}
CALLED = ("label", "given", "predicted", "suggested", "class", "top_rival")
COLUMNS = [
    "sample_id",
    "split",
    "given_label",
    "predicted_label",
    "suggested_label",
    "label_score",
    "is_label_issue",
    "rank",
    "p_given",
    "p_suggested",
    "in_training",
    "reason",
]


def csv(folder):
    shipped.iris().to_csv(folder / "iris.csv", index=False)
    return ["iris.csv", "--label", "species"]


def tsv(folder):
    shipped.wine().to_csv(folder / "wine.tsv", index=False, sep="\t")
    return ["wine.tsv"]


def parquet(folder):
    shipped.wine().to_parquet(folder / "wine.parquet", index=False)
    return ["wine.parquet"]


def json_lines(folder):
    shipped.iris().to_json(folder / "iris.jsonl", orient="records", lines=True)
    return ["iris.jsonl", "--label", "species"]


def features(folder):
    frame = shipped.wine()
    np.savez(folder / "wine.npz", X=frame.drop(columns="target").to_numpy(), y=frame["target"])
    return ["wine.npz"]


def images(folder):
    pixels, labels = shipped.digits()
    np.savez(folder / "digits.npz", X=pixels, y=labels)
    return ["digits.npz"]


def encoded_images(folder):
    shipped.image_table().to_parquet(folder / "scans.parquet", index=False)
    return ["scans.parquet"]


KINDS = [csv, tsv, parquet, json_lines, features, images, encoded_images]


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.__name__)
def test_every_kind_of_input_becomes_a_model_and_an_audit_of_its_rows(kind, call, tmp_path):
    """The table has the columns in order, a row for every sample, in the order of the input."""
    arguments = kind(tmp_path)
    done = call("fit", *arguments, "--epochs", 4, "--out", "run")
    assert done.code == 0, done.err
    table = pq.read_table("run/audit.parquet")
    read = open_data(arguments[0], label="species" if "--label" in arguments else None)

    assert COLUMNS == table.column_names[:12]
    assert ("path" in table.column_names) == (kind is encoded_images)
    assert read.sample_id.to_pylist() == table["sample_id"].to_pylist()
    assert [read.classes[each] for each in read.labels] == table["given_label"].to_pylist()
    assert set(table["predicted_label"].to_pylist()) <= set(read.classes)
    assert set(table["suggested_label"].to_pylist()) <= set(read.classes)


def test_the_columns_of_the_audit_fit_together(iris_run):
    """Scores rank the rows; the rival beats the given label where the score is below a half."""
    table = pq.read_table(iris_run / "audit.parquet").to_pandas()

    assert np.float32 == table["label_score"].dtype
    assert table["label_score"].between(0, 1).all()
    assert list(range(1, 151)) == sorted(table["rank"])
    assert table.sort_values("rank")["label_score"].is_monotonic_increasing
    assert (table["suggested_label"] != table["given_label"]).all()
    suspect = table["label_score"] < 0.5
    assert suspect.any()
    assert (table["predicted_label"] == table["suggested_label"])[suspect].all()
    assert (table["predicted_label"] == table["given_label"])[table["label_score"] > 0.5].all()
    assert (table["p_suggested"] > table["p_given"])[suspect].all()
    assert suspect[table["is_label_issue"]].all()
    assert table["reason"].notna()[table["is_label_issue"]].all()
    assert (table["in_training"] == (table["split"] == "train")).all()


def test_names_of_files_stand_in_the_audit(call, tmp_path):
    """Images lead back to the file they were."""
    arguments = encoded_images(tmp_path)
    assert call("fit", *arguments, "--epochs", 2, "--out", "run").code == 0
    table = pq.read_table("run/audit.parquet")
    names = [f"scan {row:03d}.png" for row in range(200)]
    assert names == table["path"].to_pylist()
    assert names == table["sample_id"].to_pylist()


def test_a_column_of_ids_names_the_samples(call, tmp_path):
    """Whoever has ids gets them back."""
    frame = shipped.iris().assign(sample_id=[f"flower {row}" for row in range(150)])
    frame.to_csv(tmp_path / "iris.csv", index=False)
    assert call("fit", "iris.csv", "--label", "species", "--epochs", 2, "--out", "r").code == 0
    found = pq.read_table("r/audit.parquet")["sample_id"].to_pylist()
    assert frame["sample_id"].to_list() == found


def test_wrong_labels_are_ranked_first(call, tmp_path):
    """Iris with a tenth of its labels wrong: twelve of the first fifteen are."""
    wrong = shipped.iris()["species"] != shipped.iris(share=0)["species"]
    arguments = csv(tmp_path)
    assert call("fit", *arguments, "--epochs", 12, "--out", "run").code == 0
    rank = pq.read_table("run/audit.parquet")["rank"].to_numpy()
    assert 12 <= int(wrong.to_numpy()[rank.argsort()[:15]].sum())


def test_json_is_one_object_with_the_promised_keys(call, tmp_path):
    """In their order, with their types, and nothing else on standard output."""
    done = call("fit", *csv(tmp_path), "--epochs", 3, "--out", "run", "--json")
    assert 1 == done.out.count("\n")
    found = json.loads(done.out)
    assert list(KEYS) == list(found)
    assert {name: type(value) for name, value in found.items()} == KEYS
    assert found["schema"] == 1
    assert found["run"] == "run"
    assert found["n"] == 150
    assert found["classes"] == list(shipped.IRIS)
    assert found["method"] == "auto"
    assert found["epochs"] == 3
    audit = pq.read_table("run/audit.parquet")
    assert found["n_label_issues"] == sum(audit["is_label_issue"].to_pylist())
    assert 10 < found["peak_mib"] < 100_000


def test_json_tells_the_test_accuracy_where_there_are_test_data(call, tmp_path):
    """It is that of the last epoch, counted on labelled rows."""
    frame = shipped.iris(share=0)
    frame[:100].to_csv(tmp_path / "train.csv", index=False)
    frame[100:].assign(species=["", *frame["species"][101:]]).to_csv("test.csv", index=False)
    done = call(
        "fit", "train.csv", "--label", "species", "--test", "test.csv",
        "--epochs", 12, "--out", "run", "--json",
    )  # fmt: skip
    found = json.loads(done.out)
    named = [*list(KEYS)[:10], "test_accuracy", *list(KEYS)[10:12], "validation_epoch"]
    assert [*named, *list(KEYS)[12:]] == list(found)
    predicted = call("predict", "run", "test.csv", "--json")
    labels = [each["predicted_label"] for each in json.loads(predicted.out)["predictions"]]
    right = np.mean(np.array(labels)[1:] == frame["species"].to_numpy()[101:])
    assert found["test_accuracy"] == pytest.approx(right, abs=1e-6)


def test_without_json_people_read_a_few_lines(call, tmp_path):
    """The path of the report and the next command are among them; both can be pasted."""
    done = call("fit", *csv(tmp_path), "--epochs", 3, "--out", "my run")
    assert "labels are suspect" in done.out
    assert "report  my run/report.html" in done.out.splitlines()
    assert "next    thresher audit 'my run'" in done.out.splitlines()


def test_epochs_are_told_on_standard_error_a_line_each(call, tmp_path):
    """Where it is no terminal."""
    done = call("fit", *csv(tmp_path), "--epochs", 3, "--out", "run")
    told = [each.split("  ")[0] for each in done.err.splitlines() if each.startswith("epoch ")]
    assert told == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_the_run_folder_holds_what_was_promised_and_nothing_to_resume(call, tmp_path):
    """Checkpoints and temporary files are gone."""
    assert call("fit", *csv(tmp_path), "--epochs", 3, "--out", "run").code == 0
    assert [
        "audit.parquet",
        "evidence.parquet",
        "history.safetensors",
        "metrics.jsonl",
        "model",
        "report.html",
        "run.toml",
        "summary.json",
    ] == sorted(each.name for each in (tmp_path / "run").iterdir())


def test_a_method_that_knows_how_labels_are_confused_says_so(call, tmp_path):
    """In a file of the run and in its report, also when that one is made again."""
    done = call("fit", *csv(tmp_path), "--method", "volminnet", "--epochs", 3, "--out", "run")
    assert done.code == 0
    table = pq.read_table(tmp_path / "run/transition.parquet").to_pandas()
    assert table.groupby("true_label")["probability"].sum().to_numpy() == pytest.approx(1)
    assert sorted(table["given_label"].unique()) == ["setosa", "versicolor", "virginica"]
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "As volminnet has it" in page
    assert call("report", "run").code == 0
    assert page == (tmp_path / "run/report.html").read_text(encoding="utf-8")


def test_no_file_of_a_run_holds_an_absolute_path(call, tmp_path):
    """So that it can be moved."""
    csv(tmp_path)
    done = call(
        "fit", tmp_path / "iris.csv", "--label", "species", "--test", tmp_path / "iris.csv",
        "--epochs", 2, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0
    for name, content in shipped.contents("run").items():
        assert content is None or str(tmp_path).encode() not in content, name


def test_the_report_stands_alone_and_names_the_classes(call, tmp_path):
    """Nothing in it is loaded from elsewhere."""
    assert call("fit", *csv(tmp_path), "--epochs", 3, "--out", "run").code == 0
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    loaded = re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:|#)([^\"']*)", page)
    assert loaded == []
    assert not re.search(r"@import|url\((?!\"?data:)", page)
    assert all(name in page for name in shipped.IRIS)


def test_every_output_calls_classes_by_their_names(call, tmp_path):
    """Files and objects alike, neighbours and pairs included: a class is never a number."""
    frame = shipped.image_table()
    frame["label"] = shipped.spoiled(frame["label"], 0.2)
    frame.to_parquet(tmp_path / "scans.parquet", index=False)
    arguments = ("scans.parquet", "--model", "mlp", "--epochs", 12, "--features", "--json")
    told = [call("fit", *arguments, "--out", "run").out]
    told += [call("audit", "run", "--json", "--top", 9, "--level", "high_recall").out]
    told += [call("predict", "run", "scans.parquet", "--json").out]
    facts = table_facts(read_table(tmp_path / "run/audit.parquet"))
    kept = pq.read_table("run/evidence.parquet")["neighbours"].drop_null().to_pylist()
    named = [list(classes_named(json.loads(each))) for each in told]
    named += [list(classes_named(facts["summary"])), list(classes_named([*map(json.loads, kept)]))]
    assert all(len(each) > 5 for each in named)
    assert set(frame["label"]) == {name for each in named for name in each}


def classes_named(found):
    """What an object of JSON says under keys that speak of classes."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if isinstance(value, dict | list):
            speaks = isinstance(key, str) and "classes" in key
            yield from value if speaks else classes_named(value)
        elif isinstance(key, str) and key.removesuffix("_label") in CALLED and value is not None:
            yield value


def test_hostile_class_names_are_inert(call, tmp_path):
    """In the report they are text; in a terminal they steer nothing."""
    names = {"setosa": "<script>alert(1)</script>", "versicolor": "a\x1b[31mred", "virginica": "猫"}
    frame = shipped.iris()
    frame.assign(species=frame["species"].map(names)).to_csv("iris.csv", index=False)
    done = call("fit", "iris.csv", "--label", "species", "--epochs", 12, "--out", "run")
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    listed = call("audit", "run", "--top", 1000)
    assert "<script>alert(1)</script>" in listed.out
    assert r"a\x1b[31mred" in listed.out
    assert "\x1b" not in listed.out
    found = pq.read_table("run/audit.parquet")["given_label"].to_pylist()
    assert set(names.values()) == set(found)


def test_rows_without_a_label_are_predicted_and_never_trained_on(call, tmp_path):
    """They stay in their places, with a prediction and without a verdict."""
    frame = shipped.iris()
    without = np.arange(150) % 5 == 2
    frame.loc[without, "species"] = None
    frame.to_csv("iris.csv", index=False)
    done = call("fit", "iris.csv", "--label", "species", "--epochs", 8, "--out", "run", "--json")
    assert "30 rows of 150 without a label" in done.err
    assert json.loads(done.out)["n"] == 150
    table = pq.read_table("run/audit.parquet").to_pandas()
    assert (table["given_label"].isna() == without).all()
    rows = table[without]
    assert (rows["split"] == "unlabelled").all()
    assert not rows["in_training"].any()
    assert not rows["is_label_issue"].any()
    assert rows["rank"].isna().all()
    true = shipped.iris(share=0)["species"][without]
    assert 0.8 < (rows["predicted_label"].to_numpy() == true.to_numpy()).mean()


def test_limit_takes_a_stratified_sample_of_the_rows(call, tmp_path):
    """Thirty rows, ten of a class to rounding, the same for a seed, others for another."""
    shipped.iris(share=0).to_csv("iris.csv", index=False)
    ids = {}
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        done = call(
            "fit", "iris.csv", "--label", "species", "--limit", 30, "--seed", seed,
            "--epochs", 2, "--out", name, "--json",
        )  # fmt: skip
        assert json.loads(done.out)["n"] == 30
        assert "Taking 30 rows" in done.err
        table = pq.read_table(f"{name}/audit.parquet")
        ids[name] = table["sample_id"].to_pylist()
        counts = pd.Series(table["given_label"].to_pylist()).value_counts()
        assert counts.between(9, 11).all()
    assert ids["one"] == ids["two"]
    assert ids["one"] != ids["three"]
    order = open_data("iris.csv", label="species").sample_id.to_pylist()
    assert ids["one"] == [each for each in order if each in set(ids["one"])]


@pytest.mark.parametrize("kind", [csv, images], ids=lambda each: each.__name__)
def test_a_run_is_repeated_by_its_settings(kind, call, tmp_path):
    """`--config run.toml` gives the same weights, history, metrics and audit, bit for bit."""
    arguments = kind(tmp_path)
    assert call("fit", *arguments, "--epochs", 4, "--seed", 3, "--out", "a/first").code == 0
    assert call("fit", "--config", "a/first/run.toml", "--out", "second").code == 0
    shipped.assert_same_run("a/first", "second")


def test_another_seed_gives_other_weights(call, tmp_path):
    """So that equal weights mean something."""
    arguments = csv(tmp_path)
    for seed in (0, 1):
        call("fit", *arguments, "--epochs", 1, "--seed", seed, "--out", f"run{seed}")
    first, second = (
        (tmp_path / f"run{seed}/model/model.safetensors").read_bytes() for seed in (0, 1)
    )
    assert first != second


def test_options_override_the_settings_file(call, tmp_path):
    """The written settings are those that held."""
    csv(tmp_path)
    (tmp_path / "mine.toml").write_text(
        '[fit]\ndata = "iris.csv"\nlabel = "species"\nepochs = 9\nmethod = "gce"\nbatch_size = 32\n'
        "noise_rate = 0.3\n"
    )
    done = call(
        "fit", "--config", "mine.toml", "--epochs", 2, "--method", "selfie", "--noise-rate", "auto",
        "--out", "run",
    )  # fmt: skip
    assert done.code == 0
    settings = tomllib.loads((tmp_path / "run/run.toml").read_text(encoding="utf-8"))["fit"]
    assert settings["epochs"] == 2
    assert settings["method"] == "selfie"
    assert settings["noise_rate"] == "auto"
    assert settings["batch_size"] == 32


def written(path):
    """The lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def test_the_noise_rate_of_every_epoch_is_written_and_its_estimator_repeats_the_run(call, tmp_path):
    """A name instead of a number: in run.toml, and a rate in each line of metrics.jsonl."""
    arguments = csv(tmp_path)
    asked = ("--method", "co-teaching", "--noise-rate", "gaussian-mean", "--epochs", 3)
    call("fit", *arguments, *asked, "--out", "run")
    call("fit", "--config", "run/run.toml", "--out", "again")
    texts = [(tmp_path / run / "run.toml").read_text(encoding="utf-8") for run in ("run", "again")]
    assert ["gaussian-mean"] * 2 == [tomllib.loads(text)["fit"]["noise_rate"] for text in texts]
    rates = [
        [each["rate"] for each in map(json.loads, written(tmp_path / run / "metrics.jsonl"))]
        for run in ("run", "again")
    ]
    assert len(rates[0]) == 3
    assert len(set(rates[0])) > 1
    assert rates[0] == rates[1]


def test_data_on_the_command_line_override_those_of_the_file(call, tmp_path):
    """The same settings for other rows."""
    csv(tmp_path)
    shipped.iris()[:60].to_csv("few.csv", index=False)
    (tmp_path / "mine.toml").write_text('[fit]\ndata = "nowhere.csv"\nlabel = "species"\n')
    done = call("fit", "few.csv", "--config", "mine.toml", "--epochs", 1, "--out", "run", "--json")
    assert json.loads(done.out)["n"] == 60


def test_paths_in_a_settings_file_are_relative_to_it(call, tmp_path):
    """Wherever it is used from."""
    (tmp_path / "deep").mkdir()
    csv(tmp_path / "deep")
    (tmp_path / "deep/mine.toml").write_text(
        '[fit]\ndata = "iris.csv"\nlabel = "species"\nepochs = 1\n'
    )
    assert call("fit", "--config", "deep/mine.toml", "--out", "run").code == 0


def test_a_run_is_not_overwritten_unasked(call, tmp_path):
    """Exit 2 names both ways out, and the run is as before."""
    arguments = csv(tmp_path)
    call("fit", *arguments, "--epochs", 1, "--out", "run")
    before = shipped.contents("run")
    again = call("fit", *arguments, "--epochs", 1, "--out", "run")
    assert again.code == 2
    assert again.complaint == [
        "thresher: run exists and holds a run.",
        "          Choose another --out, or --overwrite to replace the run.",
    ]
    assert before == shipped.contents("run")


def test_a_run_is_replaced_on_request(call, tmp_path):
    """Nothing of the old one is left, hidden or not."""
    arguments = csv(tmp_path)
    call("fit", *arguments, "--epochs", 1, "--out", "run")
    done = call("fit", *arguments, "--epochs", 2, "--out", "run", "--overwrite", "--json")
    assert json.loads(done.out)["epochs"] == 2
    assert ["iris.csv", "run"] == sorted(each.name for each in tmp_path.iterdir())


def test_without_out_a_dated_folder_is_made(call, tmp_path):
    """Two of a day and of one name get a number."""
    arguments = csv(tmp_path)
    for _ in range(2):
        assert call("fit", *arguments, "--epochs", 1).code == 0
    first, second = sorted(each.name for each in (tmp_path / "runs").iterdir())
    assert re.fullmatch(r"\d{8}-iris", first)
    assert f"{first}-2" == second


def test_broken_images_are_listed_and_left_out(call, tmp_path):
    """One in twenty does not stop a run."""
    table = shipped.image_table()
    table.loc[[3, 40], "image"] = [b"no image", table.loc[40, "image"][:40]]
    table.to_parquet("scans.parquet", index=False)
    done = call("fit", "scans.parquet", "--epochs", 2, "--out", "run", "--json")
    assert json.loads(done.out)["n"] == 198
    skipped = pq.read_table("run/skipped.parquet").to_pylist()
    assert [3, 40] == [each["row"] for each in skipped]
    assert ["scan 003.png", "scan 040.png"] == [each["path"] for each in skipped]
    assert all(each["error"] for each in skipped)
    audit = pq.read_table("run/audit.parquet")
    assert "scan 003.png" not in audit["path"].to_pylist()


FACTORY = """
from torch import nn

def narrow(shape, classes):
    return nn.Linear(shape[0], classes - 1)

def fitting(shape, classes):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.Tanh(), nn.Linear(8, classes))
"""


def test_a_model_of_the_users_own_is_trained_and_predicts(call, tmp_path):
    """It lies in the working directory."""
    (tmp_path / "own_fitting_networks.py").write_text(FACTORY)
    done = call(
        "fit",
        *csv(tmp_path),
        "--model",
        "own_fitting_networks:fitting",
        "--epochs",
        12,
        "--out",
        "run",
    )
    assert done.code == 0
    predicted = call("predict", "run", "iris.csv")
    assert predicted.code == 0
    assert len(predicted.out.splitlines()) == 151


def test_a_model_of_the_wrong_width_is_refused_in_the_users_words(call, tmp_path):
    """Before a folder is made."""
    (tmp_path / "own_narrow.py").write_text(FACTORY)
    done = call("fit", *csv(tmp_path), "--model", "own_narrow:narrow", "--out", "run")
    assert done.code == 2
    assert done.complaint == [
        "thresher: The network's last layer is 2 wide, the data have 3 classes.",
        "          Give it 3 outputs; a factory may take the argument classes.",
    ]
    assert not (tmp_path / "run").exists()


def test_a_run_too_short_to_judge_says_just_that(call, tmp_path):
    """And not that too few rows were held out."""
    data = load_digits()
    np.savez(tmp_path / "digits.npz", X=data.data.astype("f4"), y=data.target)
    done = call("fit", "digits.npz", "--epochs", 1, "--out", "run")
    assert done.code == 0
    assert "got no verdict: seen fewer than 3 times" in done.err
    assert "cannot be checked" not in done.err


def test_settings_of_a_method_are_given_by_name(call, tmp_path):
    """They change the training, lie in run.toml, and are repeated from there."""
    plain = ("--method", "elr", "--epochs", 6, "--json")
    options = ("--method-option", "strength=20", "--method-option", "beta=0.5")
    first = call("fit", *csv(tmp_path), *plain, "--out", "plain")
    second = call("fit", *csv(tmp_path), *plain, *options, "--out", "strong")
    third = call("fit", "--config", "strong/run.toml", "--out", "again", "--json")
    assert (first.code, second.code, third.code) == (0, 0, 0)
    weights = [
        (tmp_path / run / "model/model.safetensors").read_bytes()
        for run in ("plain", "strong", "again")
    ]
    assert weights[0] != weights[1] == weights[2]
    assert 'method_options = [\n    "strength=20",\n    "beta=0.5",\n]' in (
        (tmp_path / "strong/run.toml").read_text()
    )


@pytest.mark.parametrize(
    ("option", "cause", "fix"),
    [
        ("strenth=7", 'The method "elr" has no option "strenth".', 'Did you mean "strength"?'),
        ("strength", 'The method option "strength" is not name=value.', "Example: beta=0.9."),
        ("noise-rate=0.2", "noise_rate is no option of the method here.", "Use --noise-rate"),
        ("strength=much", 'The method "elr" cannot be made with strength=', "thresher methods elr"),
        ("strength=-1", "strength must be positive, got -1.", "Leave it out"),
    ],
)
def test_a_setting_that_a_method_does_not_have_is_refused(call, tmp_path, option, cause, fix):
    """Before anything is trained."""
    done = call("fit", *csv(tmp_path), "--method", "elr", "--method-option", option, "--out", "run")
    assert done.code == 2
    assert cause in done.complaint[0]
    assert fix in done.complaint[1]
    assert not (tmp_path / "run").exists()
