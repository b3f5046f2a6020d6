"""A CUDA device that is none: tensors that say they are on "cuda:0", and are kept and computed on the CPU.

What a real device would refuse is refused: an operation on tensors of both sides. And what would make the CPU wait
for a real device is counted. So a machine without a GPU can tell whether code would run on one, though not how fast.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
CPU = torch.device("cpu")
GIB = 2**30

waits: Counter[str] = Counter()
"""What made the CPU wait for the device since `pretend_cuda` began, by operation."""

# Those of the operations used here whose result's shape or value the CPU has to know.
_WAITING = {"_local_scalar_dense", "is_nonzero", "nonzero", "_unique2", "unique_dim", "bincount"}
# The CPU takes several hundred times as long for these in half precision as in single; only their speed differs.
_CONVOLUTIONS = {"conv3d", "convolution"}


class OnDevice(torch.Tensor):
    """Looks like a tensor on the device; `inner` is where it really is."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            try:
                return func(*args, **kwargs)
            except RuntimeError as error:
                # what torch does before its dispatcher is asked needs a build with CUDA
                if "not linked with support for cuda" not in str(error):
                    raise
            return _compute(func, getattr(func, "__name__", ""), args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})

    def __getitem__(self, index: Any) -> Any:
        _check_index(index)
        return OnDevice(self.inner[tree_map(_unwrap, index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _check_index(index)
        if isinstance(value, torch.Tensor):
            _check_sides("setitem", [self, value])
        with _disable_current_modes():
            self.inner[tree_map(_unwrap, index)] = _unwrap(value)

    def tolist(self) -> Any:
        waits["tolist"] += 1
        return self.inner.tolist()

    def item(self) -> Any:
        waits["item"] += 1
        return self.inner.item()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __repr__(self, **options: Any) -> str:
        return f"OnDevice({self.inner!r})"


class _Factories(TorchDispatchMode):
    """Makes what is asked for on the device: there is no tensor among the arguments that would tell."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


@contextmanager
def pretend_cuda(
    memory: int = 24 * GIB, capability: tuple[int, int] = (9, 0), name: str = "NVIDIA H100"
) -> Iterator[Counter[str]]:
    """As if there were one CUDA device with so many bytes, all of them free; yields the counter of waits."""
    waits.clear()
    there = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (memory, memory),
        "memory_reserved": lambda device=None: 0,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
        "get_device_capability": lambda device=None: capability,
        "get_device_name": lambda device=None: name,
    }
    with mock.patch.multiple(torch.cuda, **there), _Factories():
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            yield waits
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.name().removeprefix("aten::").partition(".")[0]
    if name == "_fused_sdp_choice":
        return 0  # plain arithmetic: the fused kernels are the device's own
    if name in ("to", "_to_copy"):
        return _convert(func, args, kwargs)
    return _compute(func, name, args, kwargs)


def _compute(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    if name == "copy_":
        waits["copy_"] += isinstance(args[1], OnDevice) and not isinstance(args[0], OnDevice)
    else:
        _check_sides(name, tensors)
    on_device = any(isinstance(tensor, OnDevice) for tensor in tensors)
    if on_device and name in _WAITING:
        waits[name] += 1
    target = kwargs.get("device")
    if target is not None:
        on_device = torch.device(target).type == "cuda"
    with _disable_current_modes():
        args_here, kwargs_here = tree_map(_unwrap, args), tree_map(_unwrap, kwargs)
        halves = name in _CONVOLUTIONS and args_here[0].dtype == torch.float16
        if halves:
            args_here = tree_map(lambda value: value.float() if isinstance(value, torch.Tensor) else value, args_here)
        out = func(*args_here, **kwargs_here)
        if halves:
            out = out.half()
    if name.endswith("_") and not name.endswith("__"):
        return args[0]
    return tree_map(_wrap, out) if on_device else out


def _convert(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`tensor.to(...)`, in whatever form: another dtype, another side, or both."""
    tensor, values = args[0], [*args[1:], *kwargs.values()]
    others = [value for value in values if isinstance(value, torch.Tensor)]
    device = next((torch.device(value) for value in values if isinstance(value, torch.device | str)), None)
    dtype = next((value for value in values if isinstance(value, torch.dtype)), None)
    if others:
        device, dtype = others[0].device, others[0].dtype
    to_device = (device or tensor.device).type == "cuda"
    same_side = to_device == isinstance(tensor, OnDevice)
    if same_side and dtype in (None, tensor.dtype) and func.name().startswith("aten::to"):
        return tensor
    waits["to the CPU"] += isinstance(tensor, OnDevice) and not to_device
    with _disable_current_modes():
        inner = _unwrap(tensor).to(dtype or tensor.dtype, copy=True)
    return OnDevice(inner) if to_device else inner


def _check_sides(name: str, tensors: list[torch.Tensor]) -> None:
    """What a real device refuses. A single number of the CPU may come along."""
    if any(isinstance(tensor, OnDevice) for tensor in tensors):
        for tensor in tensors:
            if tensor.dim() and not isinstance(tensor, OnDevice):
                raise RuntimeError(f"{name}: a tensor {tuple(tensor.shape)} of the CPU among those of the device")


def _check_index(index: Any) -> None:
    """An index of the CPU would be allowed, and be sent over at every use."""
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, torch.Tensor):
            if not isinstance(part, OnDevice):
                raise RuntimeError(f"an index {tuple(part.shape)} of the CPU into a tensor of the device")
            waits["mask"] += part.dtype == torch.bool


def _unwrap(value: Any) -> Any:
    if isinstance(value, OnDevice):
        return value.__dict__["inner"]
    return CPU if isinstance(value, torch.device) else value


@functools.singledispatch
def _wrap(value: Any) -> Any:
    return value


@_wrap.register
def _(value: torch.Tensor) -> torch.Tensor:
    return value if isinstance(value, OnDevice) else OnDevice(value)
