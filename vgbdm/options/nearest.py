"""The nearest name that there is, for one that is not known."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

LISTED = 40
"""Names that a line lists at most."""


def nearest(name: str, known: Sequence[str]) -> str:
    """What may have been meant by a name that is not known; empty where nothing is near.

    Args:
        name: that is not known.
        known: all that may have been meant; those of the same last part first of all.
    """
    last = name.rpartition(".")[2]
    same = [k for k in known if k.rpartition(".")[2] == last]
    folded = {k.casefold(): k for k in known}
    near = same[:3] or [folded[k] for k in get_close_matches(name.casefold(), folded, 1)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def one_of(name: str, listed: Sequence[str], known: Sequence[str] = ()) -> str:
    """The end of a line on an unknown name: the nearest that there is, and the list.

    Args:
        name: that is not known.
        listed: what is known in its place.
        known: what is known elsewhere too, and may have been meant.
    """
    guess = nearest(name, list(dict.fromkeys([*listed, *known])))
    verb = "is" if len(listed) == 1 else "are"
    rest = "" if len(listed) <= LISTED else ", …"
    return f"{guess or ';'} there {verb} {', '.join(listed[:LISTED]) or 'none'}{rest}"
