"""The same run in every layout, and gone on with in any other (docs/method.md#exact-resume)."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from parity_worker import HALF, STEPS
from processes import finish_ranks

from vgbdm.training import checkpoint
from vgbdm.training.parts import stored

REPO = Path(__file__).resolve().parents[3]
WORKER = REPO / "tests" / "support" / "parity_worker.py"
LAYOUTS = ("ddp", "zero0", "zero1", "zero2", "zero3")
CLOSE, LOOSE = 1e-6, 5e-4
"""Relative difference of losses in the first 10 steps, and of all."""
OPTIONS = {
    "parts": {"accumulation": 2, "recompute": True},
    "compile": {"compile": True},
    "offload": {"offload": "cpu"},
    "bf16": {"precision": "bf16"},
}
CROSSED = (*zip(LAYOUTS, (*LAYOUTS[1:], LAYOUTS[0]), strict=True), ("zero3", "zero3"))
"""Layouts to go on in, and from."""
COMBINED = tuple(itertools.product((1, 2), (1, 2)))
"""Ranks that go on, and ranks before."""
RESUMED = [
    (ranks, to, before, source)
    for k, (to, source) in enumerate(itertools.product(LAYOUTS, LAYOUTS))
    for ranks, before in (COMBINED if to == source else [COMBINED[k % 4]])
]
"""Every layout from itself with every number of ranks, and from every other with one of them."""
KINDS = ("model", "exp_avg", "exp_avg_sq", "ema")


def launch(folder, ranks: int, jobs) -> None:
    """All jobs, one after the other, in one group of processes."""
    finish_ranks([WORKER, folder, json.dumps(jobs)], ranks, seconds=900)


def record(folder, name):
    """Losses, norms and rates (steps, 3), and what all ranks drew, sorted by sample."""
    parts = [json.loads(p.read_text()) for p in sorted(folder.glob(f"{name}-rank*.json"))]
    drawn = np.array(sorted(row for part in parts for row in part["drawn"]))
    return np.array(parts[0]["steps"]), drawn


def tensors(folder, name):
    held = stored(checkpoint.folder_of(folder / name, STEPS))
    return {(kind, k): v.numpy() for kind in KINDS for k, v in held[kind].items()}


def differences(ours, theirs):
    """Relative ones of losses, and the largest of norms."""
    relative = np.abs(ours / theirs - 1)
    return relative[:, 0], relative[:, 1].max()


def agree(ours, theirs) -> bool:
    """Whether two records of the same steps are of the same run."""
    (steps, drawn), (others, their_drawn) = ours, theirs
    if not np.array_equal(drawn, their_drawn) or not np.array_equal(steps[:, 2], others[:, 2]):
        return False
    loss, norm = differences(steps, others)
    return bool(loss[:10].max() <= CLOSE and loss.max() <= LOOSE and norm <= 10 * LOOSE)


def second_half(of):
    steps, drawn = of
    return steps[HALF:], drawn[drawn[:, 0] >= HALF * 8]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Undisturbed runs ``RANKS-LAYOUT`` and resumed ones ``RANKS-LAYOUT-after-…``."""
    folder = tmp_path_factory.mktemp("parity")
    whole = {n: [{"name": f"{n}-{at}", "layout": at} for at in LAYOUTS] for n in (1, 2, 3)}
    plain = {"layout": "single"}
    controls = [
        {"name": "divisor", "wrong": "divisor"} | plain,
        {"name": "swapped", "wrong": "swapped"} | plain,
        {"name": "unclipped", "options": {"clip": 0.0}} | plain,
        {"name": "moments", "wrong": "moments", "from": "1-ddp"} | plain,
        {"name": "1-double", "double": True} | plain,
        {"name": "1-single"} | plain,
    ]
    launch(folder, 2, [
        *whole[2],
        {"name": "gradient", "wrong": "gradient", "layout": "ddp"},
        {"name": "2-double", "double": True, "layout": "ddp"},
        {"name": "2-frozen", "frozen": True, "layout": "zero3"},
        *(
            {"name": f"{name}-{at}", "layout": at, "options": options}
            for name, options in OPTIONS.items()
            for at in (LAYOUTS[2:] if name == "offload" else LAYOUTS)
        ),
    ])  # fmt: skip
    resumed = {
        n: [
            {
                "name": f"{n}-{to}-after-{before}-{source}",
                "layout": to,
                "from": f"{before}-{source}",
            }
            for ranks, to, before, source in RESUMED
            if ranks == n
        ]
        for n in (1, 2)
    }
    launch(folder, 1, [*whole[1], *controls, *resumed[1]])
    launch(folder, 2, resumed[2])
    launch(folder, 3, [
        *whole[3],
        *({"name": f"3-parts-{at}", "layout": at, "options": OPTIONS["parts"]} for at in LAYOUTS),
        {"name": "3-double", "double": True, "layout": "ddp"},
        *({"name": f"3-{to}-after-2-{of}", "layout": to, "from": f"2-{of}"} for to, of in CROSSED),
    ])  # fmt: skip
    fewer = {m: [{"name": f"{m}-{to}-after-3-{of}", "layout": to, "from": f"3-{of}"}
                 for to, of in CROSSED] for m in (1, 2)}  # fmt: skip
    launch(folder, 1, fewer[1])
    launch(folder, 2, fewer[2])
    return folder


@pytest.mark.slow
def test_every_layout_makes_the_same_run(runs):
    reference = record(runs, "1-single")
    assert reference[0][-10:, 0].mean() <= 0.7 * reference[0][0, 0]
    assert len(np.unique(reference[1][:, 0])) == STEPS * 8
    for ranks, layout in itertools.product((1, 2, 3), LAYOUTS):
        assert agree(record(runs, f"{ranks}-{layout}"), reference), (ranks, layout)


@pytest.mark.slow
def test_three_ranks_share_eight_samples_also_in_micro_batches(runs):
    for layout in LAYOUTS:
        assert agree(record(runs, f"3-parts-{layout}"), record(runs, "1-single")), layout


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "before"), [(3, 2), (1, 3), (2, 3)])
def test_ranks_that_do_not_divide_the_batch_go_on_from_others(runs, ranks, before):
    for layout, source in CROSSED:
        ours = record(runs, f"{ranks}-{layout}-after-{before}-{source}")
        assert agree(ours, second_half(record(runs, f"{before}-{source}"))), (layout, source)


@pytest.mark.slow
@pytest.mark.parametrize("to", LAYOUTS)
def test_every_layout_goes_on_from_every_other(runs, to):
    assert {source for _, layout, _, source in RESUMED if layout == to} == {*LAYOUTS}
    for ranks, layout, before, source in RESUMED:
        if layout != to:
            continue
        place, name = f"{before}-{source}", f"{ranks}-{to}-after-{before}-{source}"
        ours, theirs = record(runs, name), second_half(record(runs, place))
        assert agree(ours, theirs), name
        own, whole = tensors(runs, name), tensors(runs, place)
        if (ranks, to) == (before, source):
            assert np.array_equal(ours[0], theirs[0]), name
            assert all(np.array_equal(own[key], whole[key]) for key in whole), name
        else:
            for key in whole:
                scale = np.abs(whole[key]).max()
                assert np.abs(own[key] - whole[key]).max() <= 10 * LOOSE * scale, (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["parts", "compile", "offload"])
def test_options_change_nothing_in_any_layout(runs, option):
    for layout in LAYOUTS[2:] if option == "offload" else LAYOUTS:
        assert agree(record(runs, f"{option}-{layout}"), record(runs, "1-single")), layout


@pytest.mark.slow
def test_half_precision_changes_little_in_any_layout(runs):
    theirs, drawn = record(runs, "1-single")
    for layout in LAYOUTS:
        ours, own = record(runs, f"bf16-{layout}")
        loss, _ = differences(ours, theirs)
        assert np.array_equal(own, drawn)
        assert 1e-6 < loss.max() < 0.05, layout


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_one_process_and_more_agree_in_double_precision(runs, ranks):
    (one, drawn), (more, their_drawn) = record(runs, "1-double"), record(runs, f"{ranks}-double")
    assert np.array_equal(drawn, their_drawn)
    assert np.abs(one / more - 1).max() <= 1e-10


@pytest.mark.slow
def test_frozen_weights_in_parts_are_saved_too(runs):
    held = stored(checkpoint.folder_of(runs / "2-frozen", STEPS))
    assert held["model"]["gain"].tolist() == [1.0] * 7
    assert "gain" not in held["exp_avg"] and held["exp_avg"].keys() < held["model"].keys()


@pytest.mark.slow
def test_ranks_write_about_as_much_each(runs):
    for layout in LAYOUTS:
        folder = checkpoint.folder_of(runs / f"3-{layout}", STEPS)
        for kind in KINDS:
            sizes = [p.stat().st_size for p in sorted(folder.glob(f"{kind}-0*.safetensors"))]
            assert len(sizes) == 3 and max(sizes) < 0.7 * sum(sizes), (layout, kind)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["divisor", "swapped", "gradient", "moments", "unclipped"])
def test_what_is_wrong_is_noticed(runs, wrong):
    theirs = record(runs, "1-single")
    theirs = second_half(theirs) if wrong == "moments" else theirs
    assert not agree(record(runs, wrong), theirs)
