"""The model card of a run: refreshed at its end, escaped, without credentials."""

import pytest
from tiny import make_trainer

from vgbdm.storage import masking
from vgbdm.training.card import CARD, described, escaped

DATA = [("store", "s|x"), ("licence", "CC-BY-4.0")]


def test_a_card_says_what_why_and_how_far(tmp_path):
    run_dir = tmp_path / "a_run<script>"
    run_dir.mkdir()
    trainer = make_trainer(run_dir)
    with described(trainer, DATA):
        assert "None yet." in (run_dir / CARD).read_text()
        trainer.fit()
    text = (run_dir / CARD).read_text()
    assert "None yet." not in text and "<script>" not in text
    for word in ("## Limits", r"| store | s\|x |", "| licence | CC-BY-4.0 |", "| score | "):
        assert word in text
    assert f"| steps | {trainer.step} of {trainer.total}, of {trainer.global_batch} " in text


def test_a_run_that_fails_has_one_too(tmp_path):
    trainer = make_trainer(tmp_path)
    with pytest.raises(KeyError), described(trainer, DATA):
        trainer.step = 3
        raise KeyError("odd")
    assert "| steps | 3 of " in (tmp_path / CARD).read_text()


@pytest.mark.parametrize(
    "value, shown",
    [
        ("a\n# b", r"a \# b"),
        ("[x](y) `z` *w*", r"\[x\](y) \`z\` \*w\*"),
        ("a\\|b", r"a\\\|b"),
        ("&lt; $x$", r"\&lt; \$x\$"),
        ("hunter22", r"\*\*\*"),
        ("\u202e", "?"),
        ("x" * 500, "x" * 399 + "…"),
        (7, "7"),
    ],
)
def test_values_show_as_they_are(value, shown, monkeypatch):
    monkeypatch.setattr(masking, "_known", {"hunter22"})
    assert escaped(value) == shown
