"""The log: one row a step, also after a resume."""

import pandas as pd
import pytest

from vgbdm.training.records import Records, Table


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    path = tmp_path / "log.csv"
    table = Table(path, 0)
    for step in range(1, 6):
        table.add({"step": step, "loss": 1 / step})
    table.close()
    table = Table(path, 3)
    table.add({"step": 4, "loss": 9.0})
    table.close()
    log = pd.read_csv(path)
    assert log["step"].tolist() == [1, 2, 3, 4]
    assert log["loss"].tolist()[-1] == 9.0


def test_new_columns_are_added(tmp_path):
    table = Table(tmp_path / "log.csv", 0)
    table.add({"step": 1, "loss": 1.0})
    table.add({"step": 2, "loss": 0.5, "gauge": 0.25})
    table.close()
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["gauge"].isna().tolist() == [True, False]


def test_losses_keep_nine_digits(tmp_path):
    table = Table(tmp_path / "log.csv", 0)
    table.add({"step": 1, "loss": 0.123456789012})
    table.close()
    assert pd.read_csv(tmp_path / "log.csv")["loss"][0] == 0.1234567890


def test_a_run_leaves_rows_and_curves_of_steps_and_validations(tmp_path, capfd):
    with Records(tmp_path, 2, -1) as records:
        records.step(3, {"loss": 0.5}, {"samples_per_second": 8.0, "train_seconds": 1.5}, 10)
        records.validate(3, {"score": 0.25, "rmse": 4.0}, True, 1.5)
        records.validate(4, {"score": 0.5, "rmse": 3.0}, False, 2.0)
        assert (records.bar.n, records.bar.total) == (3, 10)
        records.note("a word")
    log = pd.read_csv(tmp_path / "log.csv")
    assert log.to_dict("list") == {
        "step": [3], "loss": [0.5], "samples_per_second": [8.0], "train_seconds": [1.5]
    }  # fmt: skip
    looked = pd.read_csv(tmp_path / "validation.csv")
    assert looked.to_dict("list") == {
        "step": [3, 4], "score": [0.25, 0.5], "rmse": [4.0, 3.0], "train_seconds": [1.5, 2.0]
    }  # fmt: skip
    said = capfd.readouterr().out.splitlines()
    assert "step 3: validation score 0.2500 (best so far)" in said
    assert "step 4: validation score 0.5000" in said and "a word" in said
    assert any((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize(("looked", "kept"), [(-1, []), (0, [0]), (2, [0, 2])])
def test_validations_are_kept_up_to_the_last_that_a_checkpoint_knows(tmp_path, looked, kept):
    table = Table(tmp_path / "validation.csv", -1)
    for step in (0, 2, 4):
        table.add({"step": step, "score": 1.0})
    table.close()
    with Records(tmp_path, max(looked, 0), looked):
        pass
    assert pd.read_csv(tmp_path / "validation.csv")["step"].tolist() == kept


def test_a_log_begun_anew_forgets_the_old_one_and_a_resumed_one_keeps_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    table = Table(path, 0)
    table.add({"step": 1, "loss": 1.0, "count": 7})
    table.close()
    assert path.read_text().splitlines() == ["step,loss,count", "1,1,7"]
    table = Table(path, 1)
    table.add({"step": 2, "count": 8})
    table.close()
    assert path.read_text().splitlines() == ["step,loss,count", "1,1,7", "2,,8"]
    Table(path, 0).close()
    assert path.read_text().splitlines() == ["step"]
