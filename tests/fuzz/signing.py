"""Right digests for what was changed: nothing may be believed for its digest alone."""

from __future__ import annotations

import json
from pathlib import Path

from climate.store.journal import digest_file
from fuzz.damage import replace
from vgbdm.training import checkpoint


def sign(kind: str, copy: Path, name: str) -> None:
    """Let every manifest above a file tell the digests that files have now.

    Args:
        kind: of the artefact.
        copy: its folder.
        name: of the changed file or folder inside.
    """
    for folder in (copy / name, *(copy / name).parents):
        manifest = folder / "manifest.json"
        if manifest.exists() and folder.is_relative_to(copy) and name != "manifest.json":
            try:
                facts = json.loads(manifest.read_text())
                describe = checkpoint._describe if kind == "run" else digest_file
                names = [n for n in facts["files"] if (folder / n).is_file()]
                facts["files"] |= {n: describe(folder / n) for n in names}
                replace(manifest, json.dumps(facts).encode())
            except (ValueError, RecursionError, KeyError, TypeError, OSError):
                pass  # what cannot be signed stays as it is
