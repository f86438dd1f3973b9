"""What stands beside scores to say how they came about."""

from types import SimpleNamespace

from climate.verification.scorecard import _rules_of_scores


def test_what_is_left_out_given_or_outside_has_a_rule():
    told = {"masked": lambda store: "", "outside_training": ""}
    told |= {"boundary": "", "given_truth": "", "mirrored": False}
    rules = _rules_of_scores(SimpleNamespace(**told), None, "weeks")
    assert "ranks" in rules and rules["intervals"] == "weeks"
    strangers = {"masked", "outside_training", "boundary", "given_truth", "members"}
    assert not strangers & set(rules) and "masked" not in rules["spectra"]
    told |= {"masked": lambda store: "sst", "outside_training": "9 starts"}
    told |= {"boundary": "a forecast", "given_truth": "boundary: states", "mirrored": True}
    rules = _rules_of_scores(SimpleNamespace(**told), None, "weeks")
    assert (rules["masked"], rules["outside_training"]) == ("sst", "9 starts")
    assert rules["boundary"] == "a forecast"
    assert rules["given_truth"].startswith("boundary: states; not comparable with rows")
    assert rules["spectra"].endswith("; none of masked variables")
    assert "pairs" in rules["members"] and rules["spread_skill"].startswith("of members in pairs")
