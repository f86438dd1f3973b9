"""A device that computes nothing, and a guard that lets nothing pass between it and the host.

The host is real: its tensors are numbers on the CPU. The device's tensors are fake, shapes without
numbers, so that whatever wants to know one of its numbers fails, as whatever mixes both does.

A device defined in Python takes forward and backward. Its registration changes the whole process
for good, so what uses it runs in a process of its own, see `fake_process`. Where torch has no such
function any more, fake CUDA tensors stand in; they have no backward pass.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "standin"
REGISTER = "_setup_privateuseone_for_python_backend"
META = torch.device("meta")
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
UNKNOWN_SHAPES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Of operations whose results depend on numbers."""


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
        shapes: what functions were seen to give, by their arguments' shapes.
    """

    def __init__(self) -> None:
        register = getattr(backend_registration, REGISTER, None)
        self.backward = register is not None
        if register is not None:
            register(NAME, _Module())
        self.device = torch.device(NAME if self.backward else "cuda", 0)
        self.shapes: dict[Any, Any] = {}


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
        self.device, self.shapes = registered.device, registered.shapes
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
            return self._shape(function, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise TrafficError(f"{function}: its result depends on the device's numbers") from error

    def _shape(self, function: Any, args: Any, kwargs: Any) -> Any:
        """What a function gives on the device; it is looked up where it was asked for before."""
        if not UNKNOWN_SHAPES.isdisjoint(function.tags):
            with self.fake:
                return function(*args, **kwargs)
        kind = _kind(function)
        key = (function, _key(args), _key(kwargs)) if kind else None
        known = self.shapes.get(key)
        if known is not None and kind == "changes":
            return args[0]
        if known is not None:
            shape, stride, dtype = known
            with in_kernel_invocation_manager(self.fake):
                empty = torch.empty_strided(shape, stride, dtype=dtype, device=META)
            return self._name_device(empty)
        result = self._ask(function, args, kwargs)
        if kind and isinstance(result, Tensor):
            self.shapes[key] = result.shape, result.stride(), result.dtype
        return result

    def _ask(self, function: Any, args: Any, kwargs: Any) -> Any:
        """torch's kernels for shapes, or its mode of fake tensors for what they do not know."""
        asked = {**kwargs, "device": META} if "device" in kwargs else kwargs
        try:
            with in_kernel_invocation_manager(self.fake):
                result = function(*args, **asked)
        except NotImplementedError:
            with self.fake:
                return function(*args, **kwargs)
        return tree_map_only(Tensor, self._name_device, result)

    def _name_device(self, tensor: Tensor) -> Tensor:
        """The tensor of a shape, as one of the device."""
        if isinstance(tensor, FakeTensor):
            return tensor
        return FakeTensor(self.fake, tensor, self.device)

    @staticmethod
    def _refuse_reads(packet: Any, function: Any, args: Any) -> None:
        if packet in READS:
            raise TrafficError(f"{function}: the host reads the device")
        if packet in INDEXING:
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise TrafficError(f"{function}: a boolean mask, whose sum the host reads")


@functools.cache
def _kind(function: Any) -> str | None:
    """Whether a function makes one new tensor, or changes the numbers of its first argument."""
    schema = function._schema
    if len(schema.returns) != 1 or torch.Tag.inplace_view in function.tags:
        return None
    told = schema.returns[0].alias_info
    if told is None:
        return None if schema.is_mutable else "makes"
    own = schema.arguments[0].alias_info
    return "changes" if told.is_write and own is not None and own.is_write else None


def _key(value: Any) -> Any:
    """All of an argument that a shape may depend on; 1, 1.0 and True are not the same."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple(_key(part) for part in value)
    if isinstance(value, dict):
        return tuple((name, _key(part)) for name, part in value.items())
    return type(value), value


def _device_of(tensor: Tensor) -> torch.device:
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def _exchange(one: Tensor, other: Tensor) -> None:
    """What two tensors are; as `torch.utils.swap_tensors`, which wants no weak references."""
    for name in ("__class__", "__dict__"):
        held = getattr(one, name)
        setattr(one, name, getattr(other, name))
        setattr(other, name, held)
    torch._C._swap_tensor_impl(one, other)
