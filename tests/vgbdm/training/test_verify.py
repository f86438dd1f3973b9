"""What is taken for a run."""

import pytest

from vgbdm.training.checkpoint import STATE
from vgbdm.training.verify import is_run


@pytest.mark.parametrize("sign", ["best.json", "last.json", "checkpoints/", STATE])
def test_each_sign_of_a_run_is_enough(sign, tmp_path):
    (tmp_path / "log.csv").touch()
    assert not is_run(tmp_path)
    place = tmp_path / sign
    place.mkdir() if sign.endswith("/") else place.touch()
    assert is_run(tmp_path)
