"""An objective of our own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vgbdm.objectives.matching import Matching
from vgbdm.registry.marks import buildable


@buildable
class CautiousMatching(Matching):
    """Matching in which a sample of large loss counts less."""

    def __call__(self, field, batch, values: Mapping[str, float]) -> dict[str, Tensor]:
        """Terms per sample (B,), ``loss`` among them; see `Matching`."""
        terms = super().__call__(field, batch, values)
        return terms | {"loss": torch.log1p(terms["loss"])}
