"""Real launches of weather training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from processes import finish, finish_ranks
from torch import Tensor

from vgbdm.storage.files import write_json
from vgbdm.training import checkpoint
from vgbdm.training.parts import Part, describe, stored

REPO = Path(__file__).resolve().parents[2]


SCRIPT = str(REPO / "launch" / "train_era5.py")


def train(store, run_dir, *options, ranks: int = 1, code: int = 0):
    """A training to its end; on several ranks without a launcher."""
    words = [SCRIPT, f"store={store.path}", f"run_dir={run_dir}", *options]
    if ranks > 1:
        return finish_ranks(words, ranks, code)
    return finish([sys.executable, *words], code)


def losses(run_dir) -> np.ndarray:
    return pd.read_csv(run_dir / "log.csv")["loss"].to_numpy()


def tensors(run_dir, step: int, name: str = "model") -> dict[str, np.ndarray]:
    folder = checkpoint.folder_of(run_dir, step)
    return {key: value.numpy() for key, value in checkpoint.read_tensors(folder, name).items()}


def replace_tensors(folder: Path, kind: str, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint again with other tensors of a kind, as one rank does."""
    held = {k: dict(own) for k, own in stored(folder).items()} | {kind: tensors}
    held = {k: {n: v.clone() for n, v in own.items()} for k, own in held.items()}
    state = json.loads((folder / "state.json").read_text())
    checkpoint.write_checkpoint(folder.parent.parent, Part(held), state)


def edit_state(folder: Path, **changes) -> None:
    """Change what a checkpoint says, as its writer would have said it."""
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | changes))
    sign(folder)


def sign(folder: Path) -> None:
    """Let index and manifest of a checkpoint tell the digests that its files have now."""
    index = json.loads((folder / "index.json").read_text())
    index["parts"] = {name: describe(folder / name) for name in index["parts"]}
    write_json(folder / "index.json", index)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {name: describe(folder / name) for name in manifest["files"]}
    write_json(folder / "manifest.json", manifest | {"files": files})
