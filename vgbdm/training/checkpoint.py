"""Checkpoints in one form for every backend: safetensors by name, and JSON.

    RUN/checkpoints/step-00001234/model.safetensors       float32 weights and buffers
                                  exp_avg.safetensors     first moments
                                  exp_avg_sq.safetensors  second moments
                                  ema.safetensors         averaged weights, where they are kept
                                  state.json              step, samples consumed, hashes, config
                                  manifest.json           bytes and SHA-256 of each file
    RUN/best.json, RUN/last.json                          which of them

Nothing here is collective: rank 0 alone writes what `Backend.state` gathered, so there are no other
ranks' files to wait for. A folder gets its name when it is whole and on disk; that rename is the
one mark that it is done, and the pointers move after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.registry.former import renewed
from vgbdm.storage.files import follow_umask, read_json, sync, write_json
from vgbdm.storage.lock import check_held
from vgbdm.training.state import check_kinds

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 2
CHECKPOINT_NAME = re.compile(r"step-[0-9]{8,}")
STATE, MANIFEST = "state.json", "manifest.json"
POINTERS = ("last", "best")
Tensors = Mapping[str, Mapping[str, Tensor]]
"""File name → tensor name → tensor."""


# --- writing --------------------------------------------------------------------------------------


def commit(
    run_dir: Path, tensors: Tensors, state: Mapping[str, Any], score: float | None, keep: int
) -> None:
    """Write a checkpoint, let the pointers name it, and drop those no longer kept.

    Args:
        run_dir: of the run.
        tensors: what `Backend.state` gave.
        state: JSON values with ``step``.
        score: of this checkpoint where it is the best one so far; None: it is not.
        keep: see `keep_last`.

    Raises:
        InputError: if the disk does not take it, or another process has taken the run over; what
            was there stands.
    """
    try:
        folder = write_checkpoint(run_dir, tensors, state)
        if score is not None:
            point(run_dir, "best", folder, step=state["step"], score=score)
        point(run_dir, "last", folder, step=state["step"])
        keep_last(run_dir, keep)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{run_dir}: the checkpoint of step {state['step']} cannot be written ({error}); the "
            "one before stands; make room on the disk and resume=true"
        ) from None


def write_checkpoint(run_dir: Path, tensors: Tensors, state: Mapping[str, Any]) -> Path:
    """Write one checkpoint and return its folder; what an interrupted one left is removed."""
    folder = folder_of(run_dir, state["step"])
    for leftover in folder.parent.glob(".step-*"):
        shutil.rmtree(leftover)
    aside, old = (folder.with_name(f".{folder.name}.{end}") for end in ("tmp", "old"))
    aside.mkdir(parents=True)
    try:
        _fill(aside, tensors, state)
        check_held(run_dir)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if folder.exists():  # the run went on from an earlier one
        folder.replace(old)
    aside.replace(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def bytes_under_way(run_dir: Path) -> int:
    """Of the files of a checkpoint that is being written."""
    files = (run_dir / "checkpoints").glob(".step-*/*")
    with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile
        return sum(path.stat().st_size for path in files)
    return -1


def _fill(folder: Path, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """The files of a checkpoint, on disk."""
    for name, values in tensors.items():
        path = folder / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in values.items()}, path)
        follow_umask(path)
        sync(path)
    write_json(folder / STATE, state)
    files = {path.name: _describe(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"format": CHECKPOINT_FORMAT, "files": files})
    sync(folder)


def _describe(path: Path) -> dict[str, Any]:
    """Size and digest of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def point(run_dir: Path, pointer: str, folder: Path, **facts: Any) -> None:
    """Let ``best`` or ``last`` name a checkpoint."""
    write_json(run_dir / f"{pointer}.json", {"checkpoint": folder.name, **facts})


def keep_last(run_dir: Path, count: int) -> None:
    """Delete all but those that best and last name, and the ``count`` before last.

    Later ones than last are of a run that had to go on from an earlier checkpoint.
    """
    best, last = (_named(run_dir, pointer) for pointer in ("best", "last"))
    others = [folder for folder in _folders(run_dir) if folder not in (best, last)]
    earlier = [folder for folder in others if last and step_of(folder) < step_of(last)]
    for folder in others:
        if folder not in earlier[:count]:
            shutil.rmtree(folder)


# --- finding --------------------------------------------------------------------------------------


def folder_of(run_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run_dir / "checkpoints" / f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(folder.name.removeprefix("step-"))


def _folders(run_dir: Path) -> list[Path]:
    """Of all checkpoints, whole or not, the newest first."""
    found = (run_dir / "checkpoints").glob("step-*")
    return sorted(
        (f for f in found if CHECKPOINT_NAME.fullmatch(f.name)), key=step_of, reverse=True
    )


def has_any(run_dir: Path) -> bool:
    """Whether a run has begun here: there is a checkpoint, whole or not, or a pointer to one."""
    return bool(_folders(run_dir)) or any((run_dir / f"{p}.json").exists() for p in POINTERS)


def _named(run_dir: Path, pointer: str) -> Path | None:
    """As `find`; None, too, for a pointer that is damaged."""
    try:
        return find(run_dir, pointer)
    except InputError:
        return None


def find(run_dir: Path, pointer: str) -> Path | None:
    """The checkpoint that ``best`` or ``last`` names, or None where there is none yet.

    Raises:
        InputError: if the pointer is damaged, or names anything but a checkpoint of this run.
    """
    path = run_dir / f"{pointer}.json"
    if not path.exists():
        return None
    name = str(read_json(path).get("checkpoint"))
    folder = run_dir / "checkpoints" / name
    if not CHECKPOINT_NAME.fullmatch(name) or folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{path}: names {name}, which is not there; choose another checkpoint")
    return folder


def find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None where every file is as it was written."""
    manifest = folder / MANIFEST
    if folder.is_symlink() or manifest.is_symlink() or not manifest.is_file():
        return f"{folder}: holds no {MANIFEST}, so it is no whole checkpoint"
    try:
        held = read_json(manifest)
    except InputError:
        return f"{manifest}: is damaged"
    if held.get("format") != CHECKPOINT_FORMAT:
        return f"{folder}: format {held.get('format')}, this version reads {CHECKPOINT_FORMAT}"
    files = held.get("files")
    if not isinstance(files, dict) or STATE not in files:
        return f"{manifest}: is damaged"
    for name, facts in files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            return f"{path}: is missing"
        if _describe(path) != facts:
            return f"{path}: is damaged, its bytes are not those that were written"
    return None


def find_whole(run_dir: Path, pointer: str) -> Path:
    """The checkpoint that ``best`` or ``last`` names, every file looked at.

    Raises:
        InputError: if there is none, or it is damaged; no other one is taken instead.
    """
    folder = find(run_dir, pointer)
    if folder is None:
        raise InputError(f"{run_dir}: no {pointer} checkpoint; train first")
    wrong = find_damage(folder)
    if wrong:
        raise InputError(
            f"{wrong}; it is the {pointer} checkpoint of {run_dir}: resume its training, or choose "
            "another one"
        )
    return folder


def has_whole(run_dir: Path, pointer: str) -> bool:
    """Whether a pointer names a whole checkpoint; if not, a warning says why."""
    try:
        find_whole(run_dir, pointer)
    except InputError as error:
        log.warning("%s", error)
        return False
    return True


def find_resumable(run_dir: Path, warn: bool = True) -> Path | None:
    """Where to go on: at last, or the newest whole checkpoint; None where there is none yet.

    Args:
        run_dir: of the run.
        warn: name what is damaged in warnings.

    Raises:
        InputError: if no checkpoint is whole, or the folders are gone that there were.
    """
    folders, say = _folders(run_dir), log.warning if warn else log.debug
    try:
        last = find(run_dir, "last")
    except InputError as error:
        say("%s", error)
        last = None
    for folder in ([last] if last else []) + [f for f in folders if f != last]:
        wrong = find_damage(folder)
        if wrong is None:
            return folder
        say("%s; an earlier checkpoint is looked for", wrong)
    if folders:
        raise InputError(
            f"{run_dir}/checkpoints: none of {len(folders)} is whole; start with another run_dir"
        )
    if has_any(run_dir):
        raise InputError(
            f"{run_dir}/checkpoints: holds none, though last.json or best.json tells of some; "
            "bring the folder back, or start with another run_dir"
        )
    return None


# --- reading --------------------------------------------------------------------------------------


def read_state(folder: Path, *needed: str) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Args:
        folder: of a whole checkpoint.
        needed: names that it must have.

    Raises:
        InputError: if it is damaged, or holds another kind of value than was written.
    """
    state = read_json(folder / STATE)
    check_kinds(state, folder / STATE, needed)
    return dict(renewed(state))


def tensor_files(folder: Path) -> list[str]:
    """Names of the files of tensors in a whole checkpoint."""
    files = read_json(folder / MANIFEST)["files"]
    return [name.removesuffix(".safetensors") for name in files if name.endswith(".safetensors")]


def read_moments(folder: Path, field: nn.Module) -> dict[str, dict[str, Tensor]]:
    """What a run goes on with besides `read_tensors` of ``model``: moments, and means of weights.

    Raises:
        InputError: naming the first tensor of a trained parameter that is missing or another.
    """
    trained = {name: p for name, p in field.named_parameters() if p.requires_grad}
    found = {}
    for file in ("exp_avg", "exp_avg_sq", *(f for f in tensor_files(folder) if f == "ema")):
        found[file] = read_tensors(folder, file)
        own = {name: found[file][name] for name in trained if name in found[file]}
        check_tensors(folder / f"{file}.safetensors", own, trained)
    return found


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


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Weights and buffers to forecast with: averaged ones where they are kept."""
    averaged = read_tensors(folder, "ema") if "ema" in tensor_files(folder) else {}
    return read_tensors(folder, "model") | averaged


def start_from(field: nn.Module, init: str | Path, facts: Mapping[str, Any]) -> None:
    """Take the weights of another run's best checkpoint.

    Args:
        field: that takes them.
        init: folder of the other run.
        facts: what must be alike in both runs, as under ``must_match`` of a checkpoint.

    Raises:
        InputError: where there is no whole best checkpoint, or a fact differs.
    """
    folder = find_whole(Path(init), "best")
    held = read_state(folder, "must_match")["must_match"]
    for name, value in facts.items():
        if held.get(name) != value:
            raise InputError(
                f"init={init}: its {name} is another one; start from a run with the same data and "
                "model options"
            )
    put_weights(field, read_weights(folder), folder)


def put_weights(field: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Give a field its weights and buffers.

    Raises:
        InputError: naming the first tensor that is missing, is too much, or has another shape.
    """
    check_tensors(folder / "model.safetensors", tensors, field.state_dict())
    field.load_state_dict(tensors)


def check_tensors(path: Path, held: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not those of a model.

    Args:
        path: of their file.
        held: in it.
        wanted: by the model.

    Raises:
        InputError: naming the first one.
    """
    for name in sorted(held.keys() | wanted.keys()):
        if name in held and name in wanted and held[name].shape == wanted[name].shape:
            continue
        has, wants = (
            f"of shape {tuple(tensors[name].shape)}" if name in tensors else "not at all"
            for tensors in (held, wanted)
        )
        raise InputError(
            f"{path}: model and weights do not fit together, it has {name} {has}, the model "
            f"{wants}; use another checkpoint, or the model options it was trained with"
        )
