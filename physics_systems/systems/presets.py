"""How a system is trained where the command line does not say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from torch import nn

from vgbdm.options.kinds import AtLeastTwo, Count, Frames, NotNegative, Positive, Size, Text
from vgbdm.registry.marks import model_part


@model_part
@dataclass
class Presets:
    """Sizes, weights and networks that go with a system; the configs of objectives read them.

    The values are in configs/system/presets: ``vector`` for states without a grid, ``grid`` for
    fields. A system's config gives only those that differ.

    Attributes:
        window: context frames, from which θ and ζ are inferred.
        history: frames that the network sees, where ``residual_inputs=everything``.
        latents: dimensions of ζ, what differs between trajectories besides θ.
        residual_inputs: what the missing term depends on: names of components (``dq`` is the rate
            of q), ``state`` for all of them, or ``everything``.
        encoder: network that reads the context.
        network: network of the missing term, beside the known physics.
        black_box_network: network of the whole rate, where no physics is given.
        unmixing: network of PhysVAE that removes the missing term from the context.
        refinement: steps of inference after the encoder.
        substeps: of the solver, per interval between frames.
        batch: trajectories per step of matching, over all ranks.
        matches: places matched per encoded window.
        simulating_batch: trajectories per step of objectives that simulate.
        validation: trajectories of a validation, at most.
        horizon: frames that objectives that simulate do at most, per sample; what chose them is in
            configs/objective/node.yaml.
        beta_theta: weight of KL(θ), per unit of the loss.
        beta_zeta: weight of KL(ζ), per unit of the loss.
        gauge: weight λ of the size of the missing term.
        estimate: ridge of the least squares from whose θ its posterior is counted; None: from the
            prior's mean. A grid's minute of steps is too short for the encoder to learn as much.
    """

    window: AtLeastTwo
    history: Frames
    latents: Frames
    residual_inputs: Text | Sequence[Text]
    encoder: Callable[[int, int, int], nn.Module]
    network: Callable[[int, int], nn.Module]
    black_box_network: Callable[[int, int], nn.Module]
    unmixing: Callable[[int, int], nn.Module]
    refinement: Annotated[int, Interval(ge=0, le=1000)]
    substeps: Size
    batch: Count
    matches: Size
    simulating_batch: Count
    validation: Count
    horizon: Size
    beta_theta: NotNegative
    beta_zeta: NotNegative
    gauge: NotNegative
    estimate: Positive | None = None
