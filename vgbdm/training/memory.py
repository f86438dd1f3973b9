"""How much memory training takes: by formula before it begins, and measured.

State is what stays while a step is computed, besides the activations: weights, gradients, moments
and averaged weights. Resident memory does not follow it (freed pages stay with a process), so live
tensors are counted instead.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vgbdm.extras import need
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.deepspeed import WHOLE_BELOW, bucket_of

WORD = 4
"""Bytes of a number: weights are float32 always."""
HEADROOM = 0.8
"""Share of a device's memory that is filled without a second thought."""
LAYOUTS = ("single", "ddp", "zero0", "zero1", "zero2", "zero3")


def state_bytes(sizes: Mapping[str, int], layout: str, ranks: int, ema: bool) -> int:
    """State bytes on one rank when the gradient is whole.

    Source: Rajbhandari et al. 2020 (ZeRO), for float32 weights. DeepSpeed's stages 1 and 2 keep a
    second copy of the weights that a rank updates; stage 1 differs from 2 only between
    micro-batches. Stage 3 keeps parameters with few numbers whole on every rank, and a buffer for
    sending.

    Args:
        sizes: numbers in each trained parameter, by name.
        layout: of `LAYOUTS`.
        ranks: how many.
        ema: whether averaged weights are kept.
    """
    count = sum(sizes.values())
    small = sum(size for size in sizes.values() if size < WHOLE_BELOW)
    stage_3 = small + bucket_of(count)
    whole = {"zero1": count, "zero2": count, "zero3": stage_3}.get(layout, 4 * count)
    shared = 4 if layout in ("zero1", "zero2", "zero3") else 0
    if ema:
        whole, shared = (whole, shared + 1) if shared else (whole + count, shared)
    return WORD * (whole + -(-shared * count // ranks))


def saved_bytes(module: nn.Module, forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward one, each storage once.

    What an operation of our own keeps outside of autograd's hands is not seen.

    Args:
        module: whose weights and buffers do not count, nor views of them: they are there anyway.
        forward: the pass; what it returns holds on to the graph.
    """
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = forward()  # alive while storages are counted: an address is not given twice
    del kept
    return sum(storages.values())


def live_bytes() -> int:
    """Bytes of all live tensors' storages, each counted once.

    Tensors of other classes have no memory to count: fake ones, say, that torch.compile keeps.
    """
    gc.collect()
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        if type(thing) in (Tensor, nn.Parameter):
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None and tensor.layout == torch.strided and not tensor.is_meta:
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    storages.pop(0, None)
    return sum(storages.values())


def free_bytes(backend: Backend) -> int:
    """Bytes this rank may still take: free on its accelerator, or its share of the machine's."""
    if backend.device.type == "cuda":
        return torch.cuda.mem_get_info(backend.device)[0]
    need("psutil", "training")
    import psutil

    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return int(psutil.virtual_memory().available) // ranks


def peak_bytes(backend: Backend) -> int:
    """The most memory this process has held so far, on its device."""
    if backend.device.type == "cuda":
        return torch.cuda.max_memory_allocated(backend.device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def checkpoint_bytes(backend: Backend) -> int:
    """Bytes of one checkpoint: weights, both moments and averaged weights."""
    count = sum(shape.numel() for shape in backend.shapes.values())
    return WORD * count * (3 if backend.ema is None else 4)


def in_words(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
