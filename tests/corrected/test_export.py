"""From a reviewed run to corrected data: every form, the counts, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pictures
import shipped
import thresher
from thresher.corrected import export
from thresher.corrected.rows import stored_encoding
from thresher.decisions import Decided, DecisionLog, label_after
from thresher.errors import DataError, ParameterError, RunError
from thresher.run_folder import RunFolder

ROWS = 150


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on iris.csv, both in one folder; tests copy it."""
    folder = tmp_path_factory.mktemp("trained")
    shipped.iris().to_csv(folder / "iris.csv", index=False)
    thresher.fit(folder / "iris.csv", label="species", epochs=5, out=folder / "run")
    return folder


@pytest.fixture
def iris(trained, tmp_path):
    """Its copy, in the working directory; nothing is decided yet."""
    shutil.copy(trained / "iris.csv", "iris.csv")
    shutil.copytree(trained / "run", "run")
    return pd.read_csv("iris.csv")


def octets(name):
    return shipped.Path(name).read_bytes()


def text(name):
    return shipped.Path(name).read_text()


def listed(name):
    return list(csv.DictReader(text(name).splitlines()))


def fitted(data, **settings):
    """A run of one epoch."""
    return thresher.fit(data, out="run", **{"epochs": 1, "label": None} | settings)


def audited(run="run"):
    return pq.read_table(RunFolder(run).audit).to_pylist()


def decide(*decided, run="run"):
    """Append decisions (row of the audit, decision, label)."""
    rows = audited(run)
    with DecisionLog(RunFolder(run).decisions) as log:
        log.append(Decided(rows[row]["sample_id"], word, label) for row, word, label in decided)


def five(run="run"):
    """One decision of each kind about the first five samples; the new labels of two of them."""
    rows = audited(run)
    classes = sorted({row["given_label"] for row in rows})
    given = [row["given_label"] for row in rows[:5]]
    new = [next(name for name in classes if name != each) for each in given]
    decide(
        (0, "accept", new[0]),
        (1, "keep", given[1]),
        (2, "exclude", None),
        (3, "unsure", given[3]),
        (4, f"other:{new[4]}", new[4]),
        run=run,
    )
    return new[0], new[4]


def expected(frame, label, first, fifth):
    """A frame with the decisions of `five`."""
    found = frame.reset_index(drop=True)
    found["label_original"] = found[label]
    found.loc[0, label], found.loc[4, label] = first, fifth
    return found.drop(2)


# ---------------------------------------------------------------------- tables
def test_a_csv_keeps_every_byte_but_two_labels_and_a_record(iris):
    """And gets a last column; the source is untouched."""
    before = octets("iris.csv")
    first, fifth = five()
    done = export("run", "out.csv")
    lines = text("iris.csv").splitlines()
    lines = [f"{line},{line.rpartition(',')[2]}" for line in lines]
    lines[0] = lines[0].replace("species,species", "species,label_original")
    for place, label in ((1, first), (5, fifth)):
        cells = lines[place].split(",")
        lines[place] = ",".join([*cells[:4], label, cells[5]])
    del lines[3]
    assert "".join(f"{line}\n" for line in lines) == text("out.csv")
    assert before == octets("iris.csv")
    assert (ROWS - 1, 2, 1, 1, 1, ROWS - 5) == (
        done.rows, done.changed, done.dropped, done.kept, done.unsure, done.undecided,
    )  # fmt: skip
    assert [audited()[2]["sample_id"]] == list(done.excluded)
    assert sorted(["iris.csv", "run", "out.csv"]) == sorted(
        each.name for each in shipped.Path().iterdir()
    )


def test_columns_that_were_not_learned_from_are_no_part_of_a_name():
    """Samples of a part of the data are found by their content, as the run read it."""
    frame = shipped.iris()
    town = np.where(np.arange(len(frame)) % 3 == 0, "here", "there")
    frame.assign(town=town, odd=np.arange(len(frame)) % 10 == 0).to_csv("data.csv", index=False)
    columns = {"group_report": "town", "out_of_distribution_column": "odd"}
    fitted("data.csv", label="species", limit=90, **columns)
    five()
    done = export("run", "out.csv")
    assert (2, 1) == (done.changed, done.dropped)
    assert not done.missing


@pytest.mark.parametrize("form", ["csv", "npz"])
def test_marked_samples_that_were_taken_apart_shift_no_row(form):
    """They stand in no row of the audit; the others are found all the same."""
    frame = shipped.iris()
    marks = np.arange(len(frame)) % 10 == 0
    if form == "csv":
        frame.to_csv("data.csv", index=False)
    else:
        numbers = frame.drop(columns="species").to_numpy(np.float32)
        np.savez("data.npz", X=numbers, y=frame["species"].to_numpy(str))
    label = {"label": "species"} if form == "csv" else {}
    fitted(
        f"data.{form}",
        method="odnl",
        out_of_distribution=marks,
        auxiliary="out-of-distribution",
        **label,
    )
    assert len(audited()) == (~marks).sum()
    decide((40, "exclude", None))
    row = np.flatnonzero(~marks)[40]
    export("run", "out.csv")
    if form == "npz":
        assert [str(row)] == [each["row"] for each in listed("out.csv")]
    else:
        wanted = frame.reset_index(drop=True).drop(index=row).reset_index(drop=True)
        pd.testing.assert_frame_equal(
            pd.read_csv("out.csv").drop(columns="label_original"), wanted, check_dtype=False
        )


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"])
@pytest.mark.parametrize("source", [".parquet", ".jsonl", ".csv"])
def test_a_table_is_written_in_its_form_or_another(source, suffix):
    """The columns in their order, the values, the new labels and the old ones."""
    frame = shipped.iris().reset_index(drop=True)
    frame["note"] = [f'say "{row}", é' for row in range(ROWS)]
    write = {
        ".csv": lambda: frame.to_csv("data.csv", index=False),
        ".parquet": lambda: frame.to_parquet("data.parquet", index=False),
        ".jsonl": lambda: frame.to_json("data.jsonl", orient="records", lines=True),
    }
    write[source]()
    fitted(f"data{source}", label="species")
    wanted = expected(frame, "species", *five())
    export("run", f"out{suffix}")
    found = {
        ".csv": lambda: pd.read_csv("out.csv"),
        ".tsv": lambda: pd.read_csv("out.tsv", sep="\t"),
        ".parquet": lambda: pd.read_parquet("out.parquet"),
        ".jsonl": lambda: pd.read_json("out.jsonl", lines=True),
        ".ndjson": lambda: pd.read_json("out.ndjson", lines=True),
    }[suffix]()
    pd.testing.assert_frame_equal(wanted.reset_index(drop=True), found, check_dtype=False)


def test_labels_are_written_as_the_data_write_them():
    """Numbers as numbers, codes as codes of the same dictionary, with the metadata."""
    frame = shipped.wine().reset_index(drop=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    huggingface = {"info": {"features": {"target": {"names": ["x", "y", "z"]}}}}
    metadata = {b"huggingface": json.dumps(huggingface).encode(), b"mine": b"1"}
    pq.write_table(table.replace_schema_metadata(metadata), "data.parquet", compression="zstd")
    fitted("data.parquet", label="target")
    first, fifth = five()
    assert {first, fifth} <= {"x", "y", "z"}
    export("run", "out.parquet")
    found = pq.read_table("out.parquet")
    assert [*table.schema.types, table.schema.field("target").type] == found.schema.types
    wanted = expected(frame, "target", *("xyz".index(each) for each in (first, fifth)))
    assert wanted["target"].tolist() == found["target"].to_pylist()
    assert wanted["label_original"].tolist() == found["label_original"].to_pylist()
    kept = found.schema.metadata
    assert b"1" == kept[b"mine"]
    features = json.loads(kept[b"huggingface"])["info"]["features"]
    assert features["target"] == features["label_original"]
    assert "ZSTD" == pq.ParquetFile("out.parquet").metadata.row_group(0).column(0).compression


@pytest.mark.parametrize("named", ["parts", "parts/part-*.parquet"])
def test_parts_are_written_part_by_part(named):
    """Row groups and names as they were, with the list of changes beside them."""
    table = pa.Table.from_pandas(shipped.iris(), preserve_index=False)
    table = table.set_column(4, "species", table["species"].dictionary_encode())
    shipped.Path("parts").mkdir()
    pq.write_table(table[:70], "parts/part-0.parquet", row_group_size=30)
    pq.write_table(table[70:], "parts/part-1.parquet")
    fitted(named, label="species")
    first, fifth = five()
    decide((100, "exclude", None))
    done = export("run", "out")
    parts = [pq.read_table(f"out/part-{number}.parquet") for number in (0, 1)]
    assert [69, 79] == [len(each) for each in parts]
    assert 3 == pq.ParquetFile("out/part-0.parquet").num_row_groups
    before, after = pq.read_schema("parts/part-0.parquet"), pq.read_schema("out/part-0.parquet")
    assert pa.types.is_dictionary(after.field("species").type)
    assert before.types == after.types[:-1]
    found = pa.concat_tables(parts).to_pandas()
    wanted = expected(table.to_pandas(), "species", first, fifth).drop(100)
    assert wanted["species"].tolist() == found["species"].tolist()
    assert done.rows == len(found)
    rows = [each["row"] for each in listed("out/changes.csv")]
    assert ["0", "2", "4", "100"] == rows
    export("run", "out", overwrite=True)
    export("run", "out.parquet")
    one = pd.read_parquet("out.parquet")
    assert found.astype(str).to_numpy().tolist() == one.astype(str).to_numpy().tolist()


def test_labels_that_folders_name_are_not_written_anew():
    """A row would have to move; one file can be written."""
    frame = shipped.iris()
    for name, rows in frame.groupby("species"):
        folder = shipped.Path(f"parts/species={name}")
        folder.mkdir(parents=True)
        rows.drop(columns="species").to_parquet(folder / "0.parquet", index=False)
    fitted("parts", label="species")
    five()
    with pytest.raises(DataError, match="its folder names it"):
        export("run", "out")
    assert not shipped.Path("out").exists()
    export("run", "out.parquet")
    assert ROWS - 1 == len(pq.read_table("out.parquet"))


def test_odd_spellings_of_a_class_stay_where_they_are():
    """And are not copied: the name of the class itself is, wherever it stands."""
    frame = shipped.iris(share=0).sort_values("species")
    labels = [f" {name} " if row < 100 else name for row, name in enumerate(frame["species"])]
    frame.assign(species=labels)[::-1].to_csv("data.csv", index=False)
    fitted("data.csv", label="species")
    decide((0, "other:versicolor", "versicolor"), (60, "other:virginica", "virginica"))
    export("run", "out.csv")
    found = pd.read_csv("out.csv")
    assert " versicolor " == found["species"][0]
    assert "virginica" == found["species"][60]
    assert labels[::-1][1:60] == found["species"][1:60].tolist()


def test_texts_ids_and_missing_labels():
    """Rows without a label can get one; a column of ids says which row is which, in any order."""
    frame = shipped.iris().reset_index(drop=True)
    frame["note"] = [f"{name}, seen {row} times" for row, name in enumerate(frame["species"])]
    frame.loc[0, "species"] = None
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species", text=["note"])
    decide((0, "accept", "virginica"), (1, "exclude", None))
    export("run", "out.csv")
    found = pd.read_csv("out.csv")
    assert ("virginica", True) == (found["species"][0], found["label_original"].isna()[0])
    assert frame["note"].drop(1).tolist() == found["note"].tolist()
    shutil.rmtree("run")
    frame["sample_id"] = [f"row {row}" for row in range(ROWS)]
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species", text=["note"])
    decide((0, "accept", "virginica"), (1, "exclude", None))
    frame[::-1].to_csv("data.csv", index=False)
    export("run", "turned.csv")
    turned = pd.read_csv("turned.csv").set_index("sample_id")
    assert "virginica" == turned["species"]["row 0"]
    assert "row 1" not in turned.index


def test_the_encoding_of_a_run_is_read_without_its_network():
    """The same as the model has."""
    frame = shipped.iris().reset_index(drop=True)
    frame["note"] = [f"{name}, seen {row} times" for row, name in enumerate(frame["species"])]
    done = fitted(frame, label="species", text=["note"])
    encoding = stored_encoding(done.run)
    assert done.model.encoding.to_json() == encoding.to_json()
    assert done.model.encoding.arrays().keys() == encoding.arrays().keys() != set()
    (done.run.model / "preprocess.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        stored_encoding(done.run)


# ---------------------------------------------------------------------- images
def test_class_folders_are_written_as_class_folders():
    """A relabelled image moves; an unreadable one stays; the list says where from."""
    pictures.class_folders(shipped.Path("photos"), each=6)
    shipped.Path("photos/cat/broken.png").write_bytes(b"no image")
    shipped.Path("photos/readme.txt").write_text("mine")
    before = shipped.contents("photos")
    fitted("photos", model="mlp")
    decide((0, "accept", "dog"), (7, "exclude", None))
    done = export("run", "out")
    after = shipped.contents("photos")
    assert before == after
    found = shipped.contents("out")
    assert before["cat/0.png"] == found["dog/0-2.png"]
    assert before["dog/0.png"] == found["dog/0.png"]
    assert before["cat/broken.png"] == found["cat/broken.png"]
    assert {"cat/0.png", "dog/1.png", "readme.txt"} == before.keys() - found.keys()
    rows = listed("out/changes.csv")
    assert ["cat/0.png", "dog/1.png"] == [each["path"] for each in rows]
    assert [("cat", "dog"), ("dog", "")] == [(e["label_original"], e["label"]) for e in rows]
    assert (12, 1, 1, 11) == (done.rows, done.changed, done.dropped, done.undecided)
    again = thresher.fit("out", epochs=1, model="mlp", out="again")
    assert 11 == again.summary["n"]


def test_links_are_made_on_request():
    """The same file under two names."""
    pictures.class_folders(shipped.Path("photos"))
    fitted("photos", model="mlp")
    decide((0, "accept", "dog"))
    export("run", "out", link=True)
    assert shipped.Path("out/dog/0-2.png").samefile("photos/cat/0.png")


def test_below_a_train_folder_the_test_folder_is_left_alone():
    """It is not part of the export, which is said."""
    pictures.class_folders(shipped.Path("photos/train"))
    pictures.class_folders(shipped.Path("photos/test"))
    fitted("photos", model="mlp")
    decide((0, "accept", "dog"))
    done = export("run", "out")
    assert {"cat", "dog", "changes.csv"} == {each.name for each in shipped.Path("out").iterdir()}
    assert "photos/test" in done.notes[0]
    with pytest.raises(ParameterError, match="are not apart"):
        export("run", "photos/corrected")


def test_a_lone_folder_named_as_a_split_stays():
    """Its classes are one level deeper; those of a test split are left alone."""
    pictures.class_folders(shipped.Path("photos/val"))
    fitted("photos", model="mlp")
    decide((0, "accept", "dog"))
    export("run", "out")
    assert shipped.Path("out/val/dog/0-2.png").is_file()
    assert not shipped.Path("out/val/cat/0.png").exists()
    shipped.Path("photos/val").rename("photos/test")
    shutil.rmtree("run")
    fitted("photos", model="mlp")
    decide((0, "accept", "dog"))
    with pytest.raises(ParameterError, match="test split"):
        export("run", "tested")


def test_images_beside_a_table_get_a_new_table():
    """They keep their places; one that is dropped is not copied."""
    paths = pictures.class_folders(shipped.Path("photos"), each=4)
    frame = pd.DataFrame({"file_name": paths, "label": [each[:3] for each in paths]})
    frame.to_csv("photos/metadata.csv", index=False)
    fitted("photos", model="mlp")
    wanted = expected(frame, "label", *five())
    export("run", "out")
    pd.testing.assert_frame_equal(
        wanted.reset_index(drop=True), pd.read_csv("out/metadata.csv"), check_dtype=False
    )
    there = {str(each.relative_to("out")) for each in shipped.Path("out").rglob("*.png")}
    assert {*paths} - {paths[2]} == there


def test_images_in_parquet_are_kept_as_they_are():
    """Byte for byte; the broken one too."""
    frame = shipped.image_table(60)
    frame.loc[1, "image"] = b"no image"
    frame.to_parquet("data.parquet", index=False)
    fitted("data.parquet", model="mlp")
    decide((0, "exclude", None), (1, "accept", "digit 7"))  # rows 0 and 2 of the data
    export("run", "out.parquet")
    found = pd.read_parquet("out.parquet")
    assert frame["image"][1:].tolist() == found["image"].tolist()
    assert ["digit 1", "digit 7"] == found["label"][:2].tolist()


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_a_folder_of_images_is_no_file(out):
    """What can be written instead is named."""
    pictures.class_folders(shipped.Path("photos"))
    fitted("photos", model="mlp")
    with pytest.raises(ParameterError, match="folder of images") as refused:
        export("run", out)
    assert "--changes" in refused.value.fix


# ---------------------------------------------------------------------- a list of changes
def test_of_arrays_a_list_of_changes_is_written():
    """With the row, which is the only way back."""
    images, labels = shipped.digits(100)
    fitted((images, labels), model="mlp")
    decide((0, "accept", "3"), (1, "keep", "1"), (7, "exclude", None))
    done = export("run", "out.csv")
    assert "changes" == done.form
    assert "Arrays in memory are not written anew" in done.notes[0]
    first, second = listed("out.csv")
    split = audited()[0]["split"]
    assert {"row": "0", "label_original": "0", "label": "3", "decision": "accept"}.items() <= (
        first.items()
    )
    assert (split, "") == (first["split"], first["path"])
    assert ("7", "7", "", "exclude") == tuple(
        second[name] for name in ("row", "label_original", "label", "decision")
    )
    with pytest.raises(ParameterError, match=r"\.csv or \.jsonl"):
        export("run", "out.parquet")


def test_labels_from_a_file_of_their_own_are_listed():
    """The table holds others."""
    frame = shipped.iris().reset_index(drop=True)
    frame.to_csv("data.csv", index=False)
    frame[["species"]].sample(frac=1, random_state=1).to_csv("labels.csv", index=False)
    fitted("data.csv", label="species", labels="labels.csv:species")
    five()
    done = export("run", "out.jsonl")
    assert "changes" == done.form
    assert [0, 2, 4] == [json.loads(line)["row"] for line in text("out.jsonl").splitlines()]


def test_the_list_and_the_table_agree(iris):
    """Row by row."""
    five()
    export("run", "changes.csv", changes=True)
    export("run", "out.csv")
    rows = pd.read_csv("changes.csv", index_col="row")
    assert iris["species"][rows.index].tolist() == rows["label_original"].tolist()
    applied = iris.copy()
    applied.loc[rows.index, "species"] = rows["label"]
    assert applied["species"].dropna().tolist() == pd.read_csv("out.csv")["species"].tolist()


# ---------------------------------------------------------------------- parts of the data
def test_of_a_sample_of_the_rows_all_rows_are_written():
    """Those that were not drawn stay as they are."""
    frame = shipped.iris().reset_index(drop=True)
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species", limit=60)
    first, _ = five()
    done = export("run", "out.csv")
    assert (ROWS - 1, 2, 1) == (done.rows, done.changed, done.dropped)
    export("run", "changes.csv", changes=True)
    rows = pd.read_csv("changes.csv")
    row = rows[rows["sample_id"] == audited()[0]["sample_id"]].iloc[0]
    assert (first, frame["species"][row["row"]]) == (row["label"], row["label_original"])


def test_a_second_review_adds_to_the_first():
    """The export has both; what the first left out stays out."""
    frame = shipped.iris().reset_index(drop=True)
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species")
    wanted = expected(frame, "species", *five())
    thresher.fit("data.csv", label="species", decisions="run", epochs=1, out="second")
    once = export("second", "once.csv")
    assert wanted["species"].tolist() == pd.read_csv("once.csv")["species"].tolist()
    assert (2, 1) == (once.changed, once.dropped)
    row = next(number for number, each in enumerate(audited("second")) if number > 20)
    other = next(name for name in shipped.IRIS if name != audited("second")[row]["given_label"])
    decide((row, f"other:{other}", other), (0, "unsure", audited("second")[0]["given_label"]),
           run="second")  # fmt: skip
    export("second", "twice.csv")
    wanted.iloc[row, wanted.columns.get_loc("species")] = other
    assert wanted["species"].tolist() == pd.read_csv("twice.csv")["species"].tolist()


def test_a_second_review_lists_what_the_first_left_out():
    """Of labels from a file of their own too; rows of a test split stay where they are."""
    frame = labelled_apart()
    fitted("data.csv", labels="labels.csv")
    decide((0, "exclude", None), (30, "exclude", None), (40, "exclude", None))
    again = {"labels": "labels.csv", "decisions": "run", "epochs": 1}
    thresher.fit("data.csv", out="second", **again)
    decide((20, "exclude", None), run="second")  # of the rows that are left: 21
    done = export("second", "list.csv")
    rows = listed("list.csv")
    assert ["21", "30", "40"] == [each["row"] for each in rows]
    assert frame["species"][[21, 30, 40]].tolist() == [each["label_original"] for each in rows]
    assert {("", "exclude")} == {(each["label"], each["decision"]) for each in rows}
    assert (3, 1, 0) == (done.dropped, done.test, done.missing)
    meant = export("second", "meant.csv", include_test=True)
    assert ["0", "21", "30", "40"] == [each["row"] for each in listed("meant.csv")]
    assert (4, 0, 0) == (meant.dropped, meant.test, meant.missing)


def test_a_corrected_file_is_trained_on_without_its_old_labels(iris):
    """They are no feature, and samples keep their names."""
    five()
    before = {each["sample_id"] for each in audited()}
    export("run", "out.csv")
    again = thresher.fit("out.csv", label="species", epochs=1, out="again")
    assert 4 == again.model.shape[0]
    assert {each["sample_id"] for each in audited("again")} == before - {audited()[2]["sample_id"]}


# ---------------------------------------------------------------------- undone, suggested
def test_a_hundred_decisions_undone_give_the_first_export(iris):
    """Byte for byte, for decisions of every kind."""
    export("run", "first.csv")
    rows = audited()
    with DecisionLog(RunFolder("run").decisions) as log:
        for number, row in enumerate(rows[:100]):
            given, suggested = row["given_label"], row["suggested_label"]
            third = next(name for name in shipped.IRIS if name not in (given, suggested))
            word = ("accept", "keep", "exclude", "unsure", f"other:{third}")[number % 5]
            label = label_after(word, given=given, suggested=suggested)
            log.append([Decided(row["sample_id"], word, label)])
        then = export("run", "then.csv")
        assert (40, 20, 20, 20, ROWS - 100) == (
            then.changed, then.kept, then.dropped, then.unsure, then.undecided,
        )  # fmt: skip
        for _ in range(100):
            log.undo()
    done = export("run", "last.csv")
    assert octets("first.csv") == octets("last.csv")
    assert (0, ROWS) == (done.changed, done.undecided)


def test_suggestions_are_applied_on_request_and_said_to_be_estimates(iris):
    """Where the audit flags a sample and nobody decided."""
    rows = audited()
    flagged = [number for number, row in enumerate(rows) if row["is_label_issue"]]
    assert len(flagged) > 3
    decide((flagged[0], "keep", rows[flagged[0]]["given_label"]), (flagged[1], "exclude", None))
    done = export("run", "out.csv", apply="suggestions")
    found = pd.read_csv("out.csv")["species"].tolist()
    wanted = iris["species"].tolist()
    for number in flagged[2:]:
        wanted[number] = rows[number]["suggested_label"]
    del wanted[flagged[1]]
    assert wanted == found
    assert len(flagged) - 2 == done.changed == done.suggested
    assert 0 <= done.suggestions_right <= 1
    assert "which nobody looked at: estimates of the model" in done.sentence()
    sure = sorted(rows[number]["p_suggested"] for number in flagged[2:])[-1]
    least = export("run", "sure.csv", apply="suggestions", min_confidence=sure)
    assert 1 <= least.changed < done.changed


# ---------------------------------------------------------------------- splits
def test_held_out_samples_are_corrected_and_counted():
    """They are part of the training data."""
    shipped.iris().to_csv("iris.csv", index=False)
    fitted("iris.csv", label="species", validation=0.2)
    rows = audited()
    held_out = next(number for number, row in enumerate(rows) if row["split"] == "held-out")
    other = next(name for name in shipped.IRIS if name != rows[held_out]["given_label"])
    decide((held_out, f"other:{other}", other))
    done = export("run", "out.csv")
    assert (1, 1) == (done.changed, done.held_out)
    assert "1 were held out" in done.sentence()
    export("run", "list.csv", changes=True)
    assert ["held-out"] == [each["split"] for each in listed("list.csv")]


def test_rows_of_a_test_split_are_left_alone():
    """Unless the flag is there; whatever was decided."""
    frame = shipped.iris().reset_index(drop=True)
    frame["split"] = np.where(frame.index < 5, "test", "train")
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species")
    wanted = expected(frame, "species", *five())
    done = export("run", "out.csv")
    assert frame["species"].tolist() == pd.read_csv("out.csv")["species"].tolist()
    assert (0, 0, 3, ROWS) == (done.changed, done.dropped, done.test, done.rows)
    assert "3 left in the test split" in done.sentence()
    export("run", "meant.csv", include_test=True)
    assert wanted["species"].tolist() == pd.read_csv("meant.csv")["species"].tolist()


@pytest.mark.parametrize("name", ["test.csv", "test-00000.csv", "TEST.csv"])
def test_data_named_as_a_test_split_are_refused(name):
    """Unless the flag is there."""
    shipped.iris().to_csv(name, index=False)
    fitted(name, label="species")
    assert 0 == export("run", "same.csv").changed
    five()
    with pytest.raises(ParameterError, match="test split") as refused:
        export("run", "out.csv")
    assert "--include-test" in refused.value.fix
    assert 2 == export("run", "out.csv", include_test=True).changed


def labelled_apart():
    """data.csv with a test split of twenty rows; its labels lie in labels.csv."""
    frame = shipped.iris().reset_index(drop=True)
    frame["split"] = np.where(frame.index < 20, "test", "train")
    frame.drop(columns="species").to_csv("data.csv", index=False)
    frame[["species"]].to_csv("labels.csv", index=False)
    return frame


@pytest.mark.parametrize(("limit", "suffix"), [(None, ".csv"), (60, ".jsonl")])
def test_labels_from_a_file_of_their_own_leave_the_test_split_alone(limit, suffix):
    """Whether the run took all rows or some of them; decisions and suggestions alike."""
    frame = labelled_apart()
    fitted("data.csv", labels="labels.csv", limit=limit)
    export("run", "all.csv", changes=True, apply="suggestions", include_test=True)
    rows = audited()
    for row, each in enumerate(rows):
        if each["sample_id"] not in {one["sample_id"] for one in listed("all.csv")}:
            other = next(name for name in shipped.IRIS if name != each["given_label"])
            decide((row, f"other:{other}", other))
    kept = export("run", f"out{suffix}", apply="suggestions")
    meant = export("run", f"meant{suffix}", apply="suggestions", include_test=True)
    changed = {int(each["row"]) for each in read_list(f"out{suffix}")}
    everything = {int(each["row"]) for each in read_list(f"meant{suffix}")}
    assert len(rows) == len(everything) == meant.changed
    tested = set(frame.index[frame["split"] == "test"]) & everything
    assert tested
    assert everything - tested == changed
    assert (len(tested), 0) == (kept.test, meant.test)


def read_list(name):
    """A list of changes, in either form."""
    if name.endswith(".csv"):
        return listed(name)
    return [json.loads(line) for line in text(name).splitlines()]


def test_images_with_labels_from_a_file_of_their_own_leave_the_test_split_alone():
    """The table beside them says which rows those are, or the folder that holds them all."""
    paths = pictures.class_folders(shipped.Path("photos"), each=4)
    frame = pd.DataFrame({"file_name": paths, "split": ["test", *["train"] * 7]})
    frame.to_csv("photos/metadata.csv", index=False)
    pd.DataFrame({"label": [each[:3] for each in paths]}).to_csv("labels.csv", index=False)
    fitted("photos", model="mlp", labels="labels.csv")
    decide((0, "exclude", None), (1, "exclude", None))
    done = export("run", "out.csv")
    assert (1, 1) == (done.dropped, done.test)
    assert [paths[1]] == [each["path"] for each in listed("out.csv")]
    shutil.rmtree("run")
    shutil.rmtree("photos")
    pictures.class_folders(shipped.Path("photos/test"), each=4)
    fitted("photos", model="mlp", labels="labels.csv")
    decide((0, "exclude", None))
    with pytest.raises(ParameterError, match="test split"):
        export("run", "tested.csv")


def test_data_with_fewer_rows_than_the_run_have_no_test_split_to_look_at():
    """They changed, and are refused."""
    frame = labelled_apart()
    fitted("data.csv", labels="labels.csv")
    five()
    frame.drop(columns="species")[:-1].to_csv("data.csv", index=False)
    with pytest.raises(RunError, match="changed since the run"):
        export("run", "out.csv")


def test_a_test_split_in_memory_is_not_guessed_at():
    """Nobody knows its rows any more; a file that holds the data tells them."""
    frame = shipped.iris().reset_index(drop=True)
    frame["split"] = np.where(frame.index < 5, "test", "train")
    fitted(frame, label="species")
    assert 0 == export("run", "none.csv").changed
    five()
    with pytest.raises(ParameterError, match="test split") as refused:
        export("run", "out.csv")
    assert "--data" in refused.value.fix
    assert 2 == export("run", "meant.csv", include_test=True).changed
    frame.to_csv("data.csv", index=False)
    assert 3 == export("run", "known.csv", data="data.csv").test


@pytest.mark.parametrize("form", ["list.csv", "list.jsonl", "out.csv", "out.parquet"])
def test_suggestions_leave_the_test_split_alone_in_every_form(form):
    """The flag lets them in."""
    frame = shipped.iris().reset_index(drop=True)
    frame["split"] = np.where(frame.index % 2, "train", "testing")
    frame.to_csv("data.csv", index=False)
    fitted("data.csv", label="species", epochs=5)
    flagged = [number for number, row in enumerate(audited()) if row["is_label_issue"]]
    tested = [row for row in flagged if row % 2 == 0]
    assert 0 < len(tested) < len(flagged)
    shape = {"apply": "suggestions", "changes": form.startswith("list")}
    kept = export("run", form, **shape)
    meant = export("run", f"meant-{form}", include_test=True, **shape)
    assert (len(flagged) - len(tested), len(tested)) == (kept.changed, kept.test)
    assert (len(flagged), 0) == (meant.changed, meant.test)
    if form.startswith("list"):
        left = [row for row in flagged if row % 2]
        assert left == [int(each["row"]) for each in read_list(form)]
    else:
        found = (pd.read_csv if form.endswith(".csv") else pd.read_parquet)(form)
        assert frame["species"][::2].tolist() == found["species"][::2].tolist()


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize("change", ["label", "order", "value", "fewer", "more", "class", "column"])
def test_data_that_changed_since_the_run_are_refused(change, iris):
    """A decision is about a sample as it was; nothing is written."""
    row = 9 if change in ("label", "class") else 0
    decide((0, "exclude", None))
    if change == "label":
        iris.loc[row, "species"] = iris["species"][iris["species"] != iris["species"][row]].iloc[0]
    elif change == "class":
        iris.loc[row, "species"] = "rose"
    elif change == "value":
        iris.loc[0, "petal width"] += 1
    elif change == "order":  # the labels stay in their order
        same = iris.index[iris["species"] == iris["species"][0]]
        iris.iloc[same, :4] = iris.iloc[np.roll(same, 1), :4].to_numpy()
    elif change == "fewer":
        iris = iris[:-1]
    elif change == "more":
        iris = pd.concat([iris, iris[-1:]])
    else:
        iris = iris.rename(columns={"species": "name"})
    iris.to_csv("iris.csv", index=False)
    with pytest.raises(RunError, match=r"changed since the run|has no column"):
        export("run", "out.csv")
    assert not shipped.Path("out.csv").exists()


def test_data_that_moved_are_named(iris):
    """They are asked for, and found where they are said to be."""
    five()
    export("run", "here.csv")
    shipped.Path("iris.csv").rename("moved.csv")
    with pytest.raises(RunError, match="are not in") as refused:
        export("run", "out.csv")
    assert "--data" in refused.value.fix
    export("run", "out.csv", data="moved.csv")
    assert text("here.csv") == text("out.csv")
    with pytest.raises(ParameterError, match="are not apart"):
        export("run", "moved.csv", data="moved.csv", overwrite=True)


def test_a_file_that_stands_there_is_replaced_on_request_only(iris):
    """And after a failure it stands there still."""
    shipped.Path("out.csv").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        export("run", "out.csv")
    with pytest.raises(ParameterError, match="are not apart"):
        export("run", "iris.csv", overwrite=True)
    shipped.Path("iris.csv").rename("aside.csv")
    with pytest.raises(RunError):
        export("run", "out.csv", overwrite=True)
    assert "mine" == text("out.csv")
    shipped.Path("aside.csv").rename("iris.csv")
    export("run", "out.csv", overwrite=True)
    assert text("out.csv").startswith("sepal length")


def test_a_run_without_an_audit_or_an_end_is_refused(iris):
    """The way out is named."""
    shipped.Path("run/audit.parquet").unlink()
    with pytest.raises(RunError, match=r"no audit\.parquet"):
        export("run", "out.csv")
    shipped.Path("run/state").mkdir()
    with pytest.raises(RunError, match="is not finished"):
        export("run", "out.csv")


@pytest.mark.parametrize("out", ["out", "out.xlsx", "out.npz"])
def test_a_form_that_is_not_written_is_refused(out, iris):
    """With an example."""
    with pytest.raises(ParameterError, match="--out must end in") as refused:
        export("run", out)
    assert "corrected.csv" in refused.value.fix


def test_what_is_applied_is_one_of_two_words(iris):
    """For whoever calls the function."""
    with pytest.raises(ParameterError, match="decisions or suggestions"):
        export("run", "out.csv", apply="all")


def test_decisions_about_other_samples_are_counted(iris):
    """They are lost without a word otherwise."""
    with DecisionLog(RunFolder("run").decisions) as log:
        log.append([Decided("stranger", "exclude", None)])
    done = export("run", "out.csv")
    assert (1, 0) == (done.missing, done.dropped)
    assert "1 decided sample not in the data" in done.sentence()


def test_every_row_is_counted_once(iris):
    """Whatever was decided."""
    five()
    found = export("run", "out.csv", apply="suggestions").to_json()
    parts = ("changed", "dropped", "kept", "unsure", "undecided", "test")
    assert ROWS == sum(found[name] for name in parts)
    assert ROWS - 1 == found["rows"]
    assert json.loads(json.dumps(found)) == found | {"excluded": list(found["excluded"]),
                                                     "notes": list(found["notes"])}  # fmt: skip
