"""Real launches of weather training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from processes import finish, finish_ranks
from safetensors.numpy import load_file

from vgbdm.storage.files import write_json
from vgbdm.training import checkpoint

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
    return load_file(run_dir / "checkpoints" / f"step-{step:08d}" / f"{name}.safetensors")


def edit_state(folder: Path, **changes) -> None:
    """Change what a checkpoint says, as its writer would have said it."""
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | changes))
    sign(folder)


def sign(folder: Path) -> None:
    """Let the manifest of a checkpoint tell the digests that its files have now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {name: checkpoint._describe(folder / name) for name in manifest["files"]}
    write_json(folder / "manifest.json", manifest | {"files": files})
