"""A device that computes nothing, and a guard that lets nothing pass between it and the host.

The host is real: its tensors are numbers on the CPU. The device's tensors are fake, shapes without
numbers, so that whatever wants to know one of its numbers fails, as whatever mixes both does.

A device defined in Python takes forward and backward. Its registration changes the whole process
for good, so what uses it runs in a process of its own, see `fake_process`. Where torch has no such
function any more, fake CUDA tensors stand in; they have no backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAME = "standin"
REGISTER = "_setup_privateuseone_for_python_backend"
aten = torch.ops.aten

READS = {
    aten._local_scalar_dense, aten.nonzero, aten.nonzero_numpy, aten.masked_select, aten.item,
    aten.is_nonzero, aten.equal, aten._linalg_check_errors, aten._assert_async, aten._unique2,
    aten.unique_dim, aten.unique_consecutive, aten.bincount, aten.histc, aten.argwhere,
}  # fmt: skip
"""Operations by which the host waits for numbers of the device."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
LISTS = {
    torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, torch.scalar_tensor,
    Tensor.new_tensor,
}  # fmt: skip
"""Functions that make tensors of Python lists."""


class TrafficError(AssertionError):
    """Something passed between host and device outside of the doors."""


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of a device besides its operations."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Of autocast."""
        return [torch.bfloat16]


class Registered:
    """The fake device of this process; made once.

    Attributes:
        device: where tensors go.
        backward: whether gradients can be computed there.
    """

    def __init__(self) -> None:
        register = getattr(backend_registration, REGISTER, None)
        self.backward = register is not None
        if register is not None:
            register(NAME, _Module())
        self.device = torch.device(NAME if self.backward else "cuda", 0)


class _Lists(TorchFunctionMode):
    """Refuses tensors that are made of Python's numbers for the device."""

    def __init__(self, traffic: NoTraffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in LISTS and not self.traffic.open:
            device = kwargs.get("device")
            if device is None and function is Tensor.new_tensor:
                device = args[0].device
            if device is not None and self.traffic.is_there(device):
                raise TrafficError(f"{function.__name__}: numbers of the host made a tensor there")
        try:
            return function(*args, **kwargs)
        except NotImplementedError as error:  # a copy that torch makes past all modes
            if NAME not in str(error):
                raise
            raise TrafficError(f"{function.__name__}: a list of the host went there") from error


class NoTraffic(TorchDispatchMode):
    """Raises on whatever passes between host and device, but through `door`.

    Args:
        registered: the device.
    """

    def __init__(self, registered: Registered) -> None:
        super().__init__()
        self.device = registered.device
        self.fake = FakeTensorMode()
        self.open = 0

    def __enter__(self) -> NoTraffic:
        self.lists = _Lists(self)
        self.lists.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.lists.__exit__(*error)

    def is_there(self, device: torch.device | str | int) -> bool:
        """Whether a device is the fake one."""
        known = device if isinstance(device, torch.device) else torch.device(device)
        return known.type == self.device.type

    @contextlib.contextmanager
    def door(self) -> Iterator[None]:
        """Inside, tensors may go from the host to the device."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def place(self, tensor: Tensor) -> Tensor:
        """A tensor of the host, on the device."""
        with self.fake:
            empty = torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=self.device
            )
        return empty

    def move_module(self, module: nn.Module) -> nn.Module:
        """A module's parameters, which stay the same objects, and its buffers, on the device."""
        if not self.open:
            raise TrafficError(f"{type(module).__name__}: a module moves")
        for part in module.modules():
            for parameter in part._parameters.values():
                if parameter is not None and not self.is_there(parameter.device):
                    other = nn.Parameter(self.place(parameter.data), parameter.requires_grad)
                    _exchange(parameter, other)
            for name, buffer in part._buffers.items():
                if buffer is not None and not self.is_there(buffer.device):
                    part._buffers[name] = self.place(buffer)
        return module

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.prim.device.default:  # two of five calls: a short way
            return _device_of(args[0])
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [self.is_there(_device_of(tensor)) for tensor in tensors]
        target = kwargs.get("device")
        packet = function.overloadpacket
        if packet is aten._to_copy and target is not None and self.is_there(target) != there[0]:
            if self.open and not there[0]:
                kept = {k: v for k, v in kwargs.items() if k in ("dtype", "memory_format")}
                return self.place(function(*args, **kept))
            way = "host → device" if self.is_there(target) else "device → host"
            raise TrafficError(f"{function}: a copy {way} of {tuple(tensors[0].shape)}")
        if any(there) and not all(there):
            shapes = ", ".join(
                f"{'device' if far else 'host'} {tuple(tensor.shape)}"
                for tensor, far in zip(tensors, there, strict=True)
            )
            raise TrafficError(f"{function}: tensors of both: {shapes}")
        if any(there):
            self._refuse_reads(packet, function, args)
        elif target is None or not self.is_there(target):
            return function(*args, **kwargs)
        try:
            with self.fake:
                return function(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise TrafficError(f"{function}: its result depends on the device's numbers") from error

    @staticmethod
    def _refuse_reads(packet: Any, function: Any, args: Any) -> None:
        if packet in READS:
            raise TrafficError(f"{function}: the host reads the device")
        if packet in INDEXING:
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise TrafficError(f"{function}: a boolean mask, whose sum the host reads")


def _device_of(tensor: Tensor) -> torch.device:
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def _exchange(one: Tensor, other: Tensor) -> None:
    """What two tensors are; as `torch.utils.swap_tensors`, which wants no weak references."""
    for name in ("__class__", "__dict__"):
        held = getattr(one, name)
        setattr(one, name, getattr(other, name))
        setattr(other, name, held)
    torch._C._swap_tensor_impl(one, other)
