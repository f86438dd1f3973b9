"""Checkpoints in one form for every backend: safetensors by name, and JSON.

    RUN/checkpoints/step-00001234/model.safetensors       float32 weights and buffers
                                  exp_avg.safetensors     first moments
                                  exp_avg_sq.safetensors  second moments
                                  state.json              step, samples consumed, hashes, config
    RUN/best.json, RUN/last.json                          which of them

Nothing here is collective: rank 0 writes what `Backend.state` gathered. A folder appears under its
name only when it is whole and on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vgbdm.errors import InputError

FORMAT = 1


def sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON aside, sync it, and put it in place at once."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    sync(aside)
    aside.replace(path)
    sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Read JSON, refusing a damaged file in one line."""
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: not readable as JSON ({error}); use another checkpoint"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; use another checkpoint")
    return value


def write_checkpoint(
    run_dir: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write one checkpoint and return its folder.

    Args:
        run_dir: of the run.
        tensors: file name → tensor name → tensor.
        state: JSON values with ``step``.
    """
    folder = run_dir / "checkpoints" / f"step-{state['step']:08d}"
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, values in tensors.items():
        path = aside / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in values.items()}, path)
        sync(path)
    write_json(aside / "state.json", {"format": FORMAT, **state})
    sync(aside)
    if folder.exists():
        shutil.rmtree(folder)
    aside.replace(folder)
    sync(folder.parent)
    return folder


def point(run_dir: Path, pointer: str, folder: Path, **facts: Any) -> None:
    """Let ``best`` or ``last`` name a checkpoint."""
    write_json(run_dir / f"{pointer}.json", {"checkpoint": folder.name, **facts})


def find(run_dir: Path, pointer: str) -> Path | None:
    """The checkpoint that ``best`` or ``last`` names, or None where there is none yet."""
    path = run_dir / f"{pointer}.json"
    if not path.exists():
        return None
    name = str(read_json(path).get("checkpoint"))
    folder = run_dir / "checkpoints" / name
    if Path(name).name != name or not (folder / "state.json").exists():
        raise InputError(f"{path}: names {name}, which is not there; start with another run_dir")
    return folder


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint."""
    state = read_json(folder / "state.json")
    if state.get("format") != FORMAT:
        raise InputError(f"{folder}: format {state.get('format')}, this version reads {FORMAT}")
    return state


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """One file of tensors, on the CPU.

    Raises:
        InputError: if the file is missing, damaged or no safetensors file.
    """
    path = folder / f"{name}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None


def keep_last(run_dir: Path, count: int) -> None:
    """Delete all but the last ``count`` checkpoints and those that best and last name."""
    named = {find(run_dir, pointer) for pointer in ("best", "last")}
    folders = sorted((run_dir / "checkpoints").glob("step-*"))
    for folder in folders[: max(len(folders) - count, 0)]:
        if folder not in named:
            shutil.rmtree(folder)


def start_from(field: nn.Module, init: str | Path, facts: Mapping[str, Any]) -> None:
    """Take the weights of another run's best checkpoint.

    Args:
        field: that takes them.
        init: folder of the other run.
        facts: what must be alike in both runs, as under ``must_match`` of a checkpoint.

    Raises:
        InputError: where there is no best checkpoint, or a fact differs.
    """
    folder = find(Path(init), "best")
    if folder is None:
        raise InputError(f"init={init}: no best checkpoint there")
    held = read_state(folder)["must_match"]
    for name, value in facts.items():
        if held.get(name) != value:
            raise InputError(
                f"init={init}: its {name} is another one; start from a run with the same data and "
                "model options"
            )
    field.load_state_dict(read_tensors(folder, "model"))
