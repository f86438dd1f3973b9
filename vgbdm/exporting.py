"""A trained model as one file of weights, apart from its run: for those who forecast, not train.

OUT/model.safetensors   float32 weights and buffers, the averaged ones where they are kept
OUT/state.json          how the model is built, and what it was trained with
OUT/manifest.json       bytes and SHA-256 of both
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from vgbdm.errors import InputError
from vgbdm.loading import locate
from vgbdm.storage.files import follow_umask, sync, write_json
from vgbdm.storage.outputs import appearing, check_free
from vgbdm.training import checkpoint
from vgbdm.training.parts import MANIFEST, describe

WEIGHTS = "model.safetensors"
KEPT = ("step", "samples", "best", "rebuild", "config", "must_match", "software")
"""Of what a checkpoint says; the rest is for going on."""


def export(path: str | Path, out: str | Path, pointer: str = "best") -> Path:
    """Write a trained model by itself; `vgbdm.load` reads it as it reads a run.

    Args:
        path: a run folder, or one of the folders in its ``checkpoints``.
        out: folder to make.
        pointer: ``best`` or ``last``, of a run folder.

    Returns:
        The folder.

    Raises:
        InputError: if there is no whole checkpoint, it does not say how its model is built, or
            ``out`` exists or cannot be written.
    """
    out = Path(out)
    check_free(out)
    folder = locate(Path(path), pointer)
    state = checkpoint.read_state(folder)
    if state.get("rebuild") is None:
        raise InputError(f"{folder}: does not say how its model is built; train it again")
    weights = {n: value.contiguous() for n, value in checkpoint.read_weights(folder).items()}
    try:
        with appearing(out) as made:
            made.mkdir()
            save_file(weights, made / WEIGHTS)
            follow_umask(made / WEIGHTS)
            sync(made / WEIGHTS)
            kept = {name: state[name] for name in KEPT if name in state}
            write_json(made / checkpoint.STATE, kept)
            files = {name: describe(made / name) for name in (WEIGHTS, checkpoint.STATE)}
            write_json(made / MANIFEST, {"format": checkpoint.WHOLE_FILES, "files": files})
    except (OSError, SafetensorError) as error:
        raise InputError(f"out={out}: cannot be written ({error}); choose another disk") from None
    return out
