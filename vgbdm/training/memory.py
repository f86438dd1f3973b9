"""How much memory training takes: by formula before it begins, and measured.

State is what stays while a step is computed, besides the activations: weights, gradients, moments
and averaged weights. Resident memory does not follow it (freed pages stay with a process), so live
tensors are counted instead.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vgbdm.training.backends import Backend
from vgbdm.training.backends.deepspeed import KEPT, bucket_of

WORD = 4
"""Bytes of a number: weights are float32 always."""
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
    small = sum(size for size in sizes.values() if size < KEPT)
    stage_3 = small + bucket_of(count)
    whole = {"zero1": count, "zero2": count, "zero3": stage_3}.get(layout, 4 * count)
    shared = 4 if layout in ("zero1", "zero2", "zero3") else 0
    if ema:
        whole, shared = (whole, shared + 1) if shared else (whole + count, shared)
    return WORD * (whole + -(-shared * count // ranks))


def saved_bytes(forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward one, each storage once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = forward()  # alive while storages are counted: an address is not given twice
    del kept
    return sum(storages.values())


def live_bytes() -> int:
    """Bytes of all live tensors' storages, each counted once."""
    gc.collect()
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None and tensor.layout == torch.strided and not tensor.is_meta:
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    storages.pop(0, None)
    return sum(storages.values())


def peak_bytes(backend: Backend) -> int:
    """The most memory this process has held so far, on its device."""
    if backend.device.type == "cuda":
        return torch.cuda.max_memory_allocated(backend.device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def checkpoint_bytes(backend: Backend) -> int:
    """Bytes of one checkpoint: weights, both moments and averaged weights."""
    count = sum(shape.numel() for shape in backend.shapes.values())
    return WORD * count * (3 if backend.ema is None else 4)
