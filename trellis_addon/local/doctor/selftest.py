"""Ten seconds of arithmetic on the device, in the Python that has PyTorch: is it there, is it right, how fast is it.

Each measurement is a line of JSON on standard output, {"name", "value", "unit", "note"}, as soon as it is made, so that
whoever reads them has the first ones also where a later one takes the process down.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SECONDS = 10.0  # for everything after PyTorch is loaded
KEYS = 9600  # tokens that an object usually has at 1024
_ROWS = 64  # of the queries that are computed in float32 as well
_EACH = 0.6  # seconds that one thing is repeated for
_READ = 512 * 2**20  # bytes of the weights that are read


def main(arguments: list[str]) -> int:
    """`arguments`: the weights' folder, or "" for none. Returns 1 when something came out wrong."""
    folder = Path(arguments[0]) if arguments and arguments[0] else None
    is_right = True
    try:
        import torch

        from ...engines.devices import local_devices
        from ...pipeline.device.store import choose_device, device_precision, eight_bits_of
        from ...weights.eight_bits import asked_for

        device = choose_device(local_devices()[0])
        _tell("PyTorch", torch.__version__)
        _tell("device", str(device), note=_name(device))
        numbers = device_precision(device)
        _tell("precision", numbers.flows, note=str(numbers.reason))
        if asked := asked_for():
            held = eight_bits_of(device, asked)
            _tell(
                "weights in 8 bits", held, note="" if held == asked else f"{asked} is for NVIDIA's cards from RTX 40 on"
            )
    except Exception as error:
        _tell("PyTorch", "failed", note=_sentence(error))
        return 1
    end = time.monotonic() + SECONDS
    for name, measure in (
        *((f"matrix product, {dtype}", _matmul(dtype)) for dtype in ("bfloat16", "float16", "float32")),
        ("attention", _attention),
        ("memory bandwidth", _bandwidth),
        ("sparse convolution", _convolution),
    ):
        if time.monotonic() > end:
            _tell(name, "left out", note="the time was over")
            continue
        try:
            value, unit, note = measure(device)
            _tell(name, value, unit, note)
        except Exception as error:
            is_right = False
            _tell(name, "failed", note=_sentence(error))
    if folder is not None:
        try:
            value, unit, note = _disk(folder)
            _tell("reading the weights", value, unit, note)
        except (OSError, ValueError) as error:
            _tell("reading the weights", "failed", note=_sentence(error))
    return 0 if is_right else 1


Measured = tuple[float, str, str]


def _matmul(dtype: str) -> Callable[[torch.device], Measured]:
    def measure(device: torch.device) -> Measured:
        import torch

        n = 4096 if device.type != "cpu" else 512
        kind = getattr(torch, dtype)
        a, b = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
        seconds = _time(lambda: a @ b, device)
        return 2 * n**3 / seconds / 1e12, "TFLOP/s", ""

    return measure


def _attention(device: torch.device) -> Measured:
    """Attention as the pipeline has it at 1024, in its own type; `ValueError` where float32 comes to something else."""
    import torch

    from ...pipeline.device.attention_choice import fastest_attention
    from ...pipeline.device.store import device_precision
    from ...pipeline.networks.attention import attend, attention_backend
    from ...pipeline.networks.network import DTYPES

    rows, heads, width = (KEYS, 12, 128) if device.type != "cpu" else (64, 2, 64)
    kind = DTYPES[device_precision(device).flows]
    generator = torch.Generator().manual_seed(1)
    # keys that differ: where all are alike, any softmax is right
    q, k, v = (torch.randn(1, n, heads, width, generator=generator) for n in (rows, KEYS, KEYS))
    q, k, v = ((2 * q).to(kind), k.to(kind), v.to(kind))
    with torch.inference_mode(), fastest_attention(device, kind):
        some = q[0, :_ROWS].transpose(0, 1).float()  # (H, rows, D)
        keys, values = (a[0].transpose(0, 1).float() for a in (k, v))
        wanted = ((some @ keys.transpose(1, 2)) / width**0.5).softmax(-1) @ values
        q, k, v = (a.to(device) for a in (q, k, v))
        found = attend(q, k, v)[0, :_ROWS].transpose(0, 1).float().cpu()
        off = float((found - wanted).abs().max() / wanted.abs().max())
        if not off < 0.02:
            raise ValueError(f"in {_short(kind)} the result is off by {off:.2g} of its size at {KEYS:,} keys")
        seconds = _time(lambda: attend(q, k, v), device)
        backend = attention_backend(q, k, v)
    note = f"{_short(kind)}, {backend}, right to {off:.0e} at {KEYS:,} keys"
    return 4 * heads * rows * KEYS * width / seconds / 1e12, "TFLOP/s", note


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _bandwidth(device: torch.device) -> Measured:
    import torch

    size = (256 if device.type != "cpu" else 64) * 2**20
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _time(lambda: target.copy_(source), device)
    return 2 * size / seconds / 1e9, "GB/s", "reading and writing"


def _convolution(device: torch.device) -> Measured:
    """Our own sparse convolution, and that it agrees with PyTorch's dense one; `ValueError` where it does not."""
    import torch
    import torch.nn.functional as F

    from ...pipeline.networks.sparse import sparse
    from ...pipeline.networks.sparse_conv import SubmanifoldConv3d

    side, channels = (48, 64) if device.type != "cpu" else (16, 16)
    generator = torch.Generator().manual_seed(1)
    there = torch.rand(side, side, side, generator=generator) < 0.3
    places = there.nonzero()
    coords = torch.cat([torch.zeros(len(places), 1, dtype=places.dtype), places], dim=1).to(device)
    feats = torch.randn(len(places), channels, generator=generator).to(device)
    layer = SubmanifoldConv3d(channels, channels).to(device)
    with torch.inference_mode():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator).to(device) * 0.05)
        layer.bias.zero_()
        x = sparse(feats, coords, 64 << 20)
        out = layer(x).feats
        dense = torch.zeros(1, channels, side, side, side, device=device)
        dense[0, :, places[:, 0], places[:, 1], places[:, 2]] = feats.T
        wanted = F.conv3d(dense, layer.weight.permute(0, 4, 1, 2, 3), padding=1)
        wanted = wanted[0, :, places[:, 0], places[:, 1], places[:, 2]].T
        off = float((out - wanted).abs().max() / wanted.abs().max())
        if not off < 0.01:
            raise ValueError(f"the result is off by {off:.2g} of its size")
        seconds = _time(lambda: layer(x), device)
    return 2 * 27 * len(places) * channels**2 / seconds / 1e12, "TFLOP/s", f"right to {off:.0e}"


def _disk(folder: Path) -> Measured:
    """The first half gigabyte of the largest file, past the system's memory of it where that can be had."""
    files = sorted(_files(folder), key=lambda path: path.stat().st_size)
    if not files:
        raise ValueError("there is no file of weights")
    done, began = 0, 0.0
    with files[-1].open("rb", buffering=0) as file:
        note = "perhaps from the system's memory"
        if sys.platform == "linux":
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            note = ""
        began = time.monotonic()
        buffer = bytearray(8 * 2**20)
        while done < _READ and time.monotonic() < began + 2:
            count = file.readinto(buffer)
            if not count:
                break
            done += count
    return done / max(time.monotonic() - began, 1e-6) / 1e9, "GB/s", note


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.safetensors") if path.is_file())


def _time(action: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, in the middle of many."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    with torch.inference_mode():
        action()  # what is made at the first call does not count
        wait()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < _EACH and count < 1000:
            action()
            count += 1
            if count % 4 == 0 or device.type == "cpu":
                wait()
        wait()
    return (time.perf_counter() - began) / count


def _name(device: torch.device) -> str:
    import torch

    if device.type != "cuda":
        return f"{os.cpu_count()} threads" if device.type == "cpu" else "Metal"
    free, total = torch.cuda.mem_get_info(device)
    return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GB free"


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _tell(name: str, value: float | str, unit: str = "", note: str = "") -> None:
    rounded = float(f"{value:.3g}") if isinstance(value, float) else value
    print(json.dumps({"name": name, "value": rounded, "unit": unit, "note": note}), flush=True)
