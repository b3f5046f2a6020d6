"""Which of PyTorch's attention kernels a device is fastest with: measured at its first use, then remembered.

PyTorch chooses by rules that are older than some cards. All candidates add up in float32; one whose result is not
float32's up to the rounding of its inputs is not taken however fast it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...core.machine.device_faults import is_out_of_memory, why_lost
from ..networks.attention import attend
from .learned import keep, recall

log = logging.getLogger(__name__)

SHAPE = (1, 4096, 12, 128)  # of the published model's self-attention on the coarse grid: (B, L, H, D)
ROWS = 64  # of the queries that are computed in float32 as well
TOLERANCE = 2e-2  # of the largest value; 16 bits round to 2^-9 of it
_CUDNN, _FLASH, _EFFICIENT = "CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION"
_remembered: dict[tuple[str, torch.dtype], tuple[str, ...]] = {}


def candidates(capability: tuple[int, int]) -> tuple[str, ...]:
    """The kernels that never build the matrix of scores, those that are likely fastest on such a card first."""
    if capability >= (9, 0):  # Hopper and Blackwell
        return _CUDNN, _FLASH, _EFFICIENT
    return (_FLASH, _CUDNN, _EFFICIENT) if capability >= (8, 0) else (_EFFICIENT,)


class Gate:
    """PyTorch's choice among kernels is the process's: who tries each of them alone has to be alone, as runs of other
    devices would have to do with that one."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._within = 0
        self._wanted = 0  # by those who want to be alone, and have waited longer

    @contextmanager
    def together(self) -> Iterator[None]:
        """Among any number of others; waits for who is alone, or about to be."""
        with self._news:
            while self._wanted:
                self._news.wait(1.0)
            self._within += 1
        try:
            yield
        finally:
            with self._news:
                self._within -= 1
                self._news.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until nobody is within, and holds everybody up meanwhile."""
        with self._news:
            self._wanted += 1
            try:
                while self._within:
                    self._news.wait(1.0)
                yield
            finally:
                self._wanted -= 1
                self._news.notify_all()


_gate = Gate()


@contextmanager
def fastest_attention(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """The fastest right kernel first while this lasts; elsewhere than on CUDA, PyTorch's own choice."""
    if device.type != "cuda" or torch.version.hip is not None:
        yield
        return
    names = chosen(device, dtype)
    with _gate.together(), preferring(names):
        yield


def chosen(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """The kernels for a device and a type, the fastest first: measured once, and remembered on disk."""
    key = (str(device), dtype)
    if key not in _remembered:
        names = candidates(torch.cuda.get_device_capability(device))
        kept = recall("attention", device, dtype) if len(names) > 1 else None
        if kept and set(kept) <= set(names):
            _remembered[key] = tuple(kept)
            return _remembered[key]
        with _gate.alone():
            found = measured(names, device, dtype) if len(names) > 1 else {}
        _remembered[key] = tuple(sorted(found, key=found.__getitem__)) or names
        if found:
            keep("attention", device, dtype, list(_remembered[key]))
        words = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in found.items())
        log.info("Attention on %s in %s: %s", device, dtype, words or names)
    return _remembered[key]


def measured(
    names: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, ...] = (),
    time_of: Callable[[Callable[[], Any], torch.device], float] | None = None,
) -> dict[str, float]:
    """Seconds of one call with each kernel that the device has, and that is right; `shape` is (B, L, H, D)."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(shape or SHAPE, generator=generator).to(device, dtype) for _ in range(3))
    wanted = _in_float32(q[:, :ROWS], k, v)
    found: dict[str, float] = {}
    for name in names:
        try:
            with preferring((name,), alone=True):
                out = attend(q, k, v)[:, :ROWS].float()
                off = float((out - wanted).abs().max() / wanted.abs().max())
                if not off < TOLERANCE:
                    log.warning("Attention by %s is off by %.2g on %s and is not used", name, off, device)
                    continue
                found[name] = (time_of or seconds_of)(lambda: attend(q, k, v), device)
        except RuntimeError as error:
            if why_lost(error) or is_out_of_memory(error):  # which says nothing of the kernel
                raise
            log.info("%s has no attention by %s: %s", device, name, str(error).splitlines()[0])
    return found


@contextmanager
def preferring(names: Sequence[str], alone: bool = False) -> Iterator[None]:
    """These kernels in this order, and where none of them can the plain one, unless they are to be alone."""
    backends = [getattr(SDPBackend, name) for name in names if hasattr(SDPBackend, name)]
    try:
        manager: Any = sdpa_kernel([*backends, *([] if alone else [SDPBackend.MATH])], set_priority=True)
    except TypeError:  # before PyTorch 2.6 there was no order
        manager = sdpa_kernel(backends[:1]) if alone else nullcontext()
    with manager:
        yield


def _in_float32(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention written out, of a few queries."""
    q, k, v = (tensor.float().transpose(1, 2) for tensor in (q, k, v))  # (B, H, L, D)
    return (((q @ k.transpose(2, 3)) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2)


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Of one call, the shortest of three."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    found = []
    for _ in range(3):
        wait()
        began = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - began)
    return min(found)
