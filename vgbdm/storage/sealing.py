"""Folders with a manifest that records the digest of every file in them, and its own.

    FOLDER/manifest.json   kind     what the folder is
                           files    path in the folder → [SHA-256, bytes, …]
                           arrays   Zarr arrays in it → [shape, shape of what a file holds, type]
                           software version and commit of the code that wrote it
                           digest   SHA-256 of the manifest itself, with zeros in this place

The manifest is written last: its presence marks the folder as whole. What is read through
`vgbdm.storage.sealed.Sealed` is compared with it on the way, once for each file. So a flipped bit,
a cut or a missing file, and two files exchanged, are found before they are used.

The digest that readers are given, by which data are known again, leaves ``software`` out: the same
data have the same one whichever version wrote them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError
from vgbdm.origin import software
from vgbdm.storage.confine import parse_json, read_bytes, resolve
from vgbdm.storage.consolidating import GROUP, consolidate
from vgbdm.storage.files import is_aside, write_json

SEAL_FORMAT = 3
"""Of what this project writes: training stores, forecasts, trajectories, initial winds."""
MANIFEST = "manifest.json"
BLANK = "0" * 64
_PLACE = b'\n "digest": "'
"""Where a manifest's own digest stands: no JSON string holds a line break."""
_SOFTWARE = re.compile(rb',\n "software": "[^"\n]*"')
Files = dict[str, list[Any]]
"""Path inside a folder → [SHA-256, bytes], and of a shard its seal."""
FILE_BYTES = 2**40


# --- writing --------------------------------------------------------------------------------------


def digest_file(path: Path) -> list[Any]:
    """SHA-256 and size of a file."""
    with path.open("rb") as stream:
        return [hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size]


def digest_tree(root: Path, skip: Collection[str] = ()) -> Files:
    """Digests of all files below a folder but its manifest, by their path in it.

    Args:
        root: folder.
        skip: first parts of paths that are left out.
    """
    paths = sorted(p for p in root.rglob("*") if not is_aside(p) and p.is_file())
    relative = [p.relative_to(root) for p in paths]
    own = {MANIFEST, *skip}
    return {str(name): digest_file(root / name) for name in relative if name.parts[0] not in own}


def matches(path: Path, want: list[Any]) -> bool:
    """Whether a file is there and has these bytes."""
    return (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_size == want[1]
        and digest_file(path) == want[:2]
    )


def describe_arrays(root: Path) -> dict[str, list[Any]]:
    """The arrays of a group that was just written: name → [shape, shape of a file, type]."""
    found = {}
    for path in sorted(root.glob("*/zarr.json")):
        facts = json.loads(path.read_bytes())
        if facts.get("node_type") == "array":
            found[path.parent.name] = layout_of(facts)
    return found


def layout_of(facts: Mapping[str, Any]) -> list[Any]:
    """What a manifest records of an array, by its metadata: [shape, shape of a file, type]."""
    chunks = facts["chunk_grid"]["configuration"]["chunk_shape"]
    return [facts["shape"], chunks, facts["data_type"]]


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest, sealed, at once."""
    facts = {**facts, "format": SEAL_FORMAT, "digest": BLANK, "software": software()}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"  # as `write_json` writes it
    write_json(folder / MANIFEST, facts | {"digest": hashlib.sha256(text.encode()).hexdigest()})


def seal_folder(folder: Path, kind: str, facts: Mapping[str, Any]) -> None:
    """Give a group that was just written its manifest, and the metadata of its arrays."""
    if (folder / GROUP).exists():
        consolidate(folder)
    held = {"kind": kind, "files": digest_tree(folder), "arrays": describe_arrays(folder)}
    write_manifest(folder, {**facts, **held})


# --- reading --------------------------------------------------------------------------------------


def unseal(raw: bytes, where: object, remedy: str, older: str | None = None) -> dict[str, Any]:
    """What a manifest says, if its digest is right; with the digest of all but ``software``.

    Args:
        raw: its bytes.
        where: its path, for messages.
        remedy: what to do about a damaged one.
        older: about one of another format.

    Raises:
        InputError: if it is damaged, of another format or without what every manifest has.
    """
    facts = parse_json(raw, where, remedy)
    if facts.get("format") != SEAL_FORMAT:
        named = str(facts.get("format"))[:20]
        raise InputError(
            f"{where}: format {named}, this version reads {SEAL_FORMAT}; {older or remedy}"
        )
    at = raw.find(_PLACE) + len(_PLACE)
    blank = raw[:at] + BLANK.encode() + raw[at + len(BLANK) :]
    if facts.get("digest") != hashlib.sha256(blank).hexdigest():
        raise InputError(
            f"{where}: is damaged, its bytes are not those that were written; {remedy}"
        )
    facts["digest"] = hashlib.sha256(_SOFTWARE.sub(b"", blank, count=1)).hexdigest()
    kinds = {"kind": str, "files": dict, "arrays": dict}
    check_types(facts, kinds, where, remedy)
    return facts


def check_types(
    facts: Mapping[str, Any], kinds: Mapping[str, Any], where: object, remedy: str
) -> None:
    """Refuse a manifest in which something is missing or of another type."""
    for name, kind in kinds.items():
        value = facts.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{where}: {name} is {str(value)[:50]!r}, which is none; {remedy}")


def read_manifest(folder: Path, kind: str, remedy: str, older: str | None = None) -> dict[str, Any]:
    """The manifest of a folder of some kind; see `unseal`.

    Raises:
        InputError: if there is none, it is damaged, or of another kind.
    """
    path = folder / MANIFEST
    try:
        facts = unseal(read_bytes(path, remedy=remedy), path, remedy, older)
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no {MANIFEST}, so it is not whole; {remedy}") from None
    if facts["kind"] != kind:
        raise InputError(f"{folder}: holds {facts['kind'][:50]}, not {kind}; choose another folder")
    return facts


def entry_of(facts: Mapping[str, Any], name: str) -> list[Any] | None:
    """What a manifest says of a file: [SHA-256, bytes, …]; None where it does not list it."""
    entry = facts["files"].get(name)
    if entry is None:
        return None
    good = isinstance(entry, list) and len(entry) in (2, 3)
    if not good or type(entry[1]) is not int or not 0 <= entry[1] < FILE_BYTES:
        raise InputError(
            f"{MANIFEST}: says {str(entry)[:80]!r} of {name}, which is no digest; fetch both again"
        )
    return list(entry)


# --- verifying ------------------------------------------------------------------------------------


def find_damaged_files(
    folder: Path, facts: Mapping[str, Any], also: Mapping[str, list[Any]] | None = None
) -> Iterator[tuple[str, str]]:
    """Compare every file with its digest, and look for what is not listed among the arrays.

    Args:
        folder: with the manifest.
        facts: of the manifest.
        also: what some files may be besides.

    Yields:
        The name of a damaged file, and what is wrong with it.
    """
    for name in sorted(facts["files"]):
        wants = [entry_of(facts, name) or [], *([also[name]] if also and name in also else [])]
        try:
            reason = compare_digests(resolve(folder, name), wants)
        except InputError as error:
            reason = str(error)
        if reason:
            yield name, reason
    for name in sorted(facts["arrays"]):
        for path in sorted(resolve(folder, f"{name}/zarr.json").parent.rglob("*")):
            inside = str(path.relative_to(folder))
            listed = inside in facts["files"] or bool(also and inside in also)
            if not path.is_dir() and not listed and not path.name.startswith("."):
                yield inside, "not listed in the manifest"


def verify_folder(folder: Path, kind: str | None = None) -> list[str]:
    """One line for each damaged file of a sealed folder; none where it is whole.

    Raises:
        InputError: if the manifest itself is missing or damaged, or of another kind.
    """
    facts = read_manifest(folder, kind or kind_of(folder), "fetch it again, or make it again")
    return [f"{name}: {reason}" for name, reason in find_damaged_files(folder, facts)]


def kind_of(folder: Path) -> str:
    """What a folder is, as its manifest says; empty where it has none."""
    path = folder / MANIFEST
    if not path.exists():
        return ""
    remedy = "fetch it again, or make it again"
    return str(parse_json(read_bytes(path, remedy=remedy), path, remedy).get("kind", ""))


def compare_digests(path: Path, wants: list[list[Any]]) -> str | None:
    """What is wrong with a file that should be one of some; None where nothing is."""
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size not in {want[1] for want in wants}:
        return f"{size} bytes, should be {wants[0][1]}"
    good = digest_file(path) in [want[:2] for want in wants]
    return None if good else "flipped bits (digest differs)"
