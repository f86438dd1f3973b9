"""What may be computed in fewer bits, and what never is."""

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.inference.refinement import mean_products
from vgbdm.latents.regression import ridge
from vgbdm.paths.derivatives import derivatives
from vgbdm.precision import allow_tf32, check_precision, computing
from vgbdm.scores import crps

CPU = torch.device("cpu")


@pytest.fixture
def settings():
    """The process's own, put back afterwards."""
    places = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    kept = [place.fp32_precision for place in places]
    yield places
    for place, value in zip(places, kept, strict=True):
        place.fp32_precision = value


@pytest.mark.parametrize(("allowed", "layers"), [(True, "tf32"), (False, "ieee")])
def test_matrix_products_are_never_shortened(settings, allowed, layers):
    settings[2].fp32_precision = "tf32"
    allow_tf32(allowed)
    assert [place.fp32_precision for place in settings] == [layers, layers, "ieee"]


def test_layers_follow_and_weights_do_not():
    layer, x = torch.nn.Conv2d(2, 3, 3), torch.randn(1, 2, 5, 5)
    with computing("bf16", CPU):
        assert layer(x).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16), computing("fp32", CPU):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("work", "shapes"),
    [(mean_products, [(2, 30, 4)]),
     (lambda x, y: ridge(x, y, (1e-3,)), [(2, 3, 4, 30), (2, 3, 30)]),
     (crps, [(8, 2, 5), (2, 5)]),
     (lambda x, t: derivatives(x, t.sort(1).values, 5), [(2, 9, 3), (2, 9)])],
)  # fmt: skip
def test_what_is_solved_or_scored_is_never_shortened(work, shapes):
    generator = torch.Generator().manual_seed(0)
    given = [torch.rand(shape, generator=generator) for shape in shapes]
    with computing("bf16", CPU):
        shortened = work(*given)
    pairs = zip(shortened, work(*given), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_another_precision_is_refused_by_the_name_of_its_option():
    with pytest.raises(InputError, match=r"backend\.validation_precision=fp16: want fp32 or bf16"):
        check_precision("backend.validation_precision", "fp16")
