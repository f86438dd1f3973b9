"""Which backend a launcher asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from vgbdm.options.kinds import Of, Text
from vgbdm.registry.marks import buildable
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.deepspeed import DeepSpeedBackend, Offload, Stage
from vgbdm.training.backends.torch import DDPBackend, SingleBackend

DEEPSPEED_MARK = "CROSS_SIZE"
"""Set for its ranks by the ``deepspeed`` launcher and by no other."""
TORCHRUN_MARK = "TORCHELASTIC_RUN_ID"


def backend_class(environment: Mapping[str, str]) -> type[Backend]:
    """The backend that fits whoever started this process."""
    if DEEPSPEED_MARK in environment:
        return DeepSpeedBackend
    if TORCHRUN_MARK in environment or int(environment.get("WORLD_SIZE", "1")) > 1:
        return DDPBackend
    return SingleBackend


def backend_name(config: Mapping[str, Any]) -> str:
    """The class that a backend's config leads to, for a message."""
    made, zero = str(config["_target_"]).rsplit(".", 1)[-1], ("stage", "offload", "nvme_path")
    if made != automatic.__name__:
        return made
    asked = any(config.get(name) is not None for name in zero)
    return (DeepSpeedBackend if asked else backend_class(os.environ)).__name__


@buildable
def automatic(
    stage: Stage | None = None,
    offload: Offload | None = None,
    nvme_path: Text | None = None,
    **options: Annotated[Any, Of("vgbdm.training.backends.base.Backend")],
) -> Backend:
    """The backend of the launcher; DeepSpeed under any of them where one of its options is given.

    Args:
        stage: of ZeRO; None: 0 under the ``deepspeed`` launcher.
        offload: see `DeepSpeedBackend`.
        nvme_path: see there.
        options: of `Backend`.
    """
    zero: dict[str, Any] = {"stage": stage, "offload": offload, "nvme_path": nvme_path}
    given = {name: value for name, value in zero.items() if value is not None}
    kind = DeepSpeedBackend if given else backend_class(os.environ)
    return kind(**given, **options)
