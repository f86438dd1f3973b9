"""The log: one row a step, also after a resume."""

import pandas as pd

from vgbdm.training.records import Table


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
