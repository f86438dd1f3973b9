"""Where ranks meet: a part of the launcher's store that no earlier start has written to.

`torchrun --max-restarts` keeps one store for all starts of a run. Left alone, a rank that is quick
finds in it the address of a process that is dead, and waits there (pytorch issues 135712 and
167288); how often a run was started would not tell starts apart, as each node counts for itself.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import torch.distributed
from torch.distributed import PrefixStore, Store

SCHEME = "vgbdm"
INIT_METHOD = f"{SCHEME}://"
"""What `torch.distributed.init_process_group` is told to meet here."""
POLL = 0.02
"""Seconds between two looks of rank 0 at who has come."""


def agree_on_name(store: Store, rank: int, world_size: int, timeout: timedelta) -> str:
    """A name that the living ranks share and no earlier start had. *Collective.*

    Every rank leaves a word that only it knows; rank 0 answers each word with its own, and is done
    when all that it sees now are confirmed. Words of the dead are answered too, and nobody hears.

    Args:
        store: of the launcher, with anything in it.
        rank: of this process.
        world_size: processes in all.
        timeout: after which rank 0 gives up.

    Raises:
        TimeoutError: on rank 0, where a rank has not come.
        torch.distributed.DistStoreError: on the others, where rank 0 has not.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"here/{rank}", own)
        name = store.get(f"start/{own}").decode()
        store.set(f"met/{name}/{own}", "")
        return name
    end = time.monotonic() + timeout.total_seconds()
    missing = {f"here/{other}": "" for other in range(1, world_size)}
    while missing:
        if time.monotonic() > end:
            names = ", ".join(key.removeprefix("here/") for key in missing)
            raise TimeoutError(f"no sign of rank {names} within {timeout}")
        for key in [key for key in missing if store.check([key])]:
            word = store.get(key).decode()
            if word != missing[key]:
                store.set(f"start/{word}", own)
                missing[key] = word
            elif store.check([f"met/{own}/{word}"]):
                del missing[key]
        time.sleep(POLL)
    return own


def meet(url: str, timeout: timedelta, **options: Any) -> Iterator[tuple[Store, int, int]]:
    """A rendezvous handler of torch: its store by environment variables, apart by `agree_on_name`.

    Args:
        url: `INIT_METHOD`, with rank and size if they do not come from the environment.
        timeout: of the store.
        options: of torch's own.
    """
    place = urlsplit(url)._replace(scheme="env").geturl()
    for store, rank, size in torch.distributed.rendezvous(place, timeout=timeout, **options):
        yield PrefixStore(agree_on_name(store, rank, size, timeout), store), rank, size


torch.distributed.register_rendezvous_handler(SCHEME, meet)
