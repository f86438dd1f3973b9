"""A run folder → the trained model, from safetensors and JSON; nothing is unpickled."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from hydra.errors import InstantiationException
from torch import nn

from vgbdm.errors import InputError
from vgbdm.plugins import use
from vgbdm.registry.build import rebuild
from vgbdm.training import checkpoint

Model = TypeVar("Model", bound=nn.Module)


def load(
    path: str | Path,
    pointer: str = "best",
    device: torch.device | str | None = "cpu",
    kind: type[Model] = nn.Module,  # type: ignore[assignment]
    plugins: Sequence[str] | None = None,
) -> Model:
    """A trained model, ready to forecast: in evaluation mode, with its averaged weights if any.

    Only classes marked as parts of models are built, of this distribution and of packages that the
    caller names, whatever the run says (see `vgbdm.registry.build`). Every file is compared with
    the digest it was written with.

    Args:
        path: a run folder, or one of the folders in its ``checkpoints``.
        pointer: ``best`` or ``last``, of a run folder.
        device: to put it on; None: a GPU where there is one.
        kind: class that is wanted.
        plugins: packages or modules, such as ``mylab.systems``, whose classes may be built from now
            on in this process.

    Raises:
        InputError: if there is no whole checkpoint or no such device, it names what may not be
            built, or it holds another kind of model.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"path: want the folder of a run, not {type(path).__name__}")
    use([] if plugins is None else plugins)
    place = device_of(device)
    folder = locate(Path(path), pointer)
    config = checkpoint.read_state(folder).get("rebuild")
    if config is None:
        raise InputError(f"{folder}: does not say how its model is built; train it again")
    try:
        weights = checkpoint.read_weights(folder)
        model = rebuild(config, sum(value.numel() for value in weights.values()))
        if not isinstance(model, kind):
            raise InputError(
                f"{folder}: holds a {type(model).__name__}, a model of another task; want a "
                f"{kind.__name__}"
            )
        checkpoint.put_weights(model, weights, folder)
    except InputError:
        raise
    except (
        InstantiationException, AttributeError, TypeError, ValueError, LookupError, ArithmeticError,
        RuntimeError, AssertionError, MemoryError, OSError,
    ) as error:  # fmt: skip
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: its model and weights do not fit together ({line})") from None
    return model.to(place).eval()


def placed(model: Model, device: torch.device | str | None) -> Model:
    """A caller's model in evaluation mode on a device; a copy of it where it is not so itself.

    Raises:
        InputError: for a device that is not there.
    """
    place = device_of(device)
    held = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if held <= {place} and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(place).eval()


def device_of(name: torch.device | str | None) -> torch.device:
    """A device that is there; by default a GPU, where there is one.

    Raises:
        InputError: for any other.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device={name}: {reason}; give one that is here, such as cpu") from None


def locate(path: Path, pointer: str = "best") -> Path:
    """The whole checkpoint in a run folder that a pointer names, or the folder itself if it is one.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    if not (path / checkpoint.STATE).exists():
        return checkpoint.find_whole(path, pointer)
    wrong = checkpoint.find_damage(path)
    if wrong:
        raise InputError(f"{wrong}; choose another checkpoint")
    return path


def run_folder(path: str | Path) -> Path:
    """The run folder that `load` would take a model from: itself, or that of a checkpoint."""
    folder = Path(path)
    return folder.parent.parent if (folder / checkpoint.STATE).exists() else folder
