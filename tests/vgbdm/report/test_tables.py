"""A table of texts from others computes nothing in a spreadsheet."""

import pandas as pd
import pytest

from vgbdm.report.tables import in_columns, plain_cell, write_csv

FORMULAS = ["=1+1", "=HYPERLINK(1)", "+A1", "-A1", "@SUM(A1)", "\tx", "\rx"]
PLAIN = ["-1.5", "+2e3", "-inf", "gbdm", "a=b", "", 3, -1.5, None]


@pytest.mark.parametrize("value", FORMULAS)
def test_formulas_are_quoted(value):
    assert plain_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", PLAIN)
def test_numbers_and_words_stay(value):
    assert plain_cell(value) == value


def test_cells_and_names_of_columns_are_plain_in_the_file(tmp_path):
    table = pd.DataFrame({"objective": FORMULAS[:2], "=evil": ["a", "-1.5"], "x": [-1.5, 1 / 3]})
    write_csv(table, tmp_path / "scores.csv")
    text = (tmp_path / "scores.csv").read_text()
    assert text == "objective,'=evil,x\n'=1+1,a,-1.5\n'=HYPERLINK(1),-1.5,0.33333333\n"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_a_wide_table_comes_in_blocks_that_fit_a_terminal():
    lines = [["lead", *(f"{6 * k} h" for k in range(1, 13))]]
    lines += [["model", *("222.7 (0.98)" for _ in range(12))]]
    blocks = in_columns(lines).split("\n\n")
    assert len(blocks) == 3 and all(block.startswith("lead") for block in blocks)
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 80
    assert [word for block in blocks for word in block.splitlines()[1].split()].count("222.7") == 12
    assert in_columns([["a", "b"], ["c", "d" * 90]]) == f"a{' ' * 91}b\nc  {'d' * 90}"
