"""Checkpoints in one form for every backend: safetensors by name, and JSON.

    RUN/checkpoints/step-00001234/
        model-00000.safetensors       float32 weights and buffers
        exp_avg-00000.safetensors     first moments
        exp_avg_sq-00000.safetensors  second moments
        ema-00000.safetensors         averaged weights, where they are kept
        index.json                    what is where, see `vgbdm.training.parts`
        state.json                    step, samples consumed, hashes, config
        manifest.json                 bytes and SHA-256 of the two above
    RUN/best.json, RUN/last.json      which of them

Every rank writes a part (…-00001 and so on), rank 0 all else, the manifest last. Nothing here is
collective. A folder gets its name when it is whole and on disk; that rename is the one mark that it
is done, and the pointers move after it. Format 2, one file of whole tensors a kind, is read too.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.registry.former import renewed
from vgbdm.storage.files import aside_of, read_json, sync, write_json
from vgbdm.storage.lock import check_held
from vgbdm.training.parts import (
    INDEX,
    MANIFEST,
    MOMENTS,
    Part,
    Stored,
    check_shapes,
    describe,
    join_parts,
    read_index,
    stored,
    write_part,
)
from vgbdm.training.state import check_kinds

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT, WHOLE_FILES = 3, 2
"""Of a run; and of an exported model, as once of runs, whose kinds are a file each."""
CHECKPOINT_NAME = re.compile(r"step-[0-9]{8,}")
STATE, CHECKPOINTS = "state.json", "checkpoints"
POINTERS = ("last", "best")


# --- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _one_line(run_dir: Path, step: int) -> Iterator[None]:
    """What the disk says as an `InputError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{run_dir}: the checkpoint of step {step} cannot be written ({error}); the "
            "one before stands; make room on the disk and resume=true"
        ) from None


def contribute(run_dir: Path, part: Part, step: int) -> None:
    """Write the part of a rank other than 0; an `InputError` if the disk does not take it."""
    with _one_line(run_dir, step):
        write_part(aside_of(folder_of(run_dir, step), part.token), part)


def commit(
    run_dir: Path,
    part: Part,
    state: Mapping[str, Any],
    score: float | None,
    keep: int,
    given_up: Callable[[], bool] = lambda: False,
) -> None:
    """Write a checkpoint, let the pointers name it, and drop those no longer kept.

    Args:
        run_dir: of the run.
        part: of rank 0; the others `contribute` theirs.
        state: JSON values with ``step``.
        score: of this checkpoint where it is the best one so far; None: it is not.
        keep: see `keep_last`.
        given_up: whether it is in vain to wait for other ranks.

    Raises:
        InputError: if the disk does not take it, or another process has taken the run over; what
            was there stands.
    """
    with _one_line(run_dir, state["step"]):
        folder = write_checkpoint(run_dir, part, state, given_up)
        if score is not None:
            point(run_dir, "best", folder, step=state["step"], score=score)
        point(run_dir, "last", folder, step=state["step"])
        keep_last(run_dir, keep)


def write_checkpoint(
    run_dir: Path,
    part: Part,
    state: Mapping[str, Any],
    given_up: Callable[[], bool] = lambda: False,
) -> Path:
    """Write one checkpoint and return its folder; what an interrupted one left is removed."""
    folder = folder_of(run_dir, state["step"])
    aside = aside_of(folder, part.token)
    old, gone = (folder.with_name(f".{folder.name}.{end}") for end in ("old", "gone"))
    for leftover in folder.parent.glob(".step-*"):
        if leftover != aside:
            shutil.rmtree(leftover)
    try:
        write_part(aside, part)
        join_parts(aside, part.ranks, given_up)
        _finish(aside, state)
        check_held(run_dir)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.replace(gone)  # at once, for ranks that still write there to see it
        shutil.rmtree(gone, ignore_errors=True)
        raise
    if folder.exists():  # the run went on from an earlier one
        folder.replace(old)
    aside.replace(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def bytes_under_way(run_dir: Path) -> int:
    """Of the files of a checkpoint that is being written."""
    files = (run_dir / CHECKPOINTS).glob(".step-*/*")
    with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile
        return sum(path.stat().st_size for path in files)
    return -1


def _finish(folder: Path, state: Mapping[str, Any]) -> None:
    """What goes with the tensors, and last of all the manifest."""
    write_json(folder / STATE, state)
    files = {name: describe(folder / name) for name in (INDEX, STATE)}
    write_json(folder / MANIFEST, {"format": CHECKPOINT_FORMAT, "files": files})
    sync(folder)


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
    return run_dir / CHECKPOINTS / f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(folder.name.removeprefix("step-"))


def _folders(run_dir: Path) -> list[Path]:
    """Of all checkpoints, whole or not, the newest first."""
    found = (run_dir / CHECKPOINTS).glob("step-*")
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
    folder = run_dir / CHECKPOINTS / name
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
    if held.get("format") not in (WHOLE_FILES, CHECKPOINT_FORMAT):
        return f"{folder}: format {held.get('format')}, this version reads {CHECKPOINT_FORMAT}"
    files = held.get("files")
    whole_files = held["format"] == WHOLE_FILES
    if not isinstance(files, dict) or STATE not in files or (INDEX in files) == whole_files:
        return f"{manifest}: is damaged"
    wrong = _find_changed(folder, files)
    if wrong or whole_files:
        return wrong
    try:
        return _find_changed(folder, read_index(folder).parts)
    except InputError as error:
        return str(error)


def _find_changed(folder: Path, files: Mapping[str, Any]) -> str | None:
    """The first file that is not as it was described, in words."""
    for name, facts in files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            return f"{path}: is missing"
        if describe(path) != facts:
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
            f"{run_dir}/checkpoints: holds none, though last.json or best.json names some; "
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


def read_moments(folder: Path, field: nn.Module) -> dict[str, Stored]:
    """What a run goes on with besides the weights: moments, and means of weights.

    Raises:
        InputError: naming the first tensor of a trained parameter that is missing or another.
    """
    trained = {name: p.shape for name, p in field.named_parameters() if p.requires_grad}
    held = stored(folder)
    found = {kind: held[kind] for kind in (*MOMENTS, *(k for k in held if k == "ema"))}
    for kind, tensors in found.items():
        own = {name: shape for name, shape in tensors.shapes.items() if name in trained}
        check_shapes(folder / kind, own, trained)
    return found


def read_tensors(folder: Path, kind: str) -> dict[str, Tensor]:
    """All tensors of a kind, on the CPU.

    Raises:
        InputError: if a file is missing, damaged or no safetensors file.
    """
    return dict(stored(folder)[kind])


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Weights and buffers to forecast with: averaged ones where they are kept."""
    held = stored(folder)
    return dict(held["model"]) | dict(held.get("ema", {}))


def put_weights(field: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Give a field its weights and buffers, those of an earlier version under its names of now.

    Raises:
        InputError: naming the first tensor that is missing, is too much, or has another shape.
    """
    tensors = getattr(field, "renewed_weights", dict)(tensors)
    held, wanted = ({n: v.shape for n, v in x.items()} for x in (tensors, field.state_dict()))
    check_shapes(folder / "model", held, wanted)
    field.load_state_dict(tensors)
