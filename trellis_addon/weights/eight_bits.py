"""Whether weights are held in 8 bits, of which kind, and the files of our own that they are converted into, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core.configuration import EIGHT_BITS_VARIABLE, configuration
from ..core.errors import FieldError
from ..core.messages import message

INT8, FP8 = "int8", "fp8"
KINDS = (INT8, FP8)  # whole numbers, or floating ones with 3 bits after the point (e4m3), which cards multiply as such
_MEANINGS = {"": "", "0": "", "false": "", "1": INT8, "true": INT8, INT8: INT8, FP8: FP8}
FP8_SINCE = (8, 9)  # NVIDIA's compute capability of Ada


def asked_for() -> str:
    """The kind that `TRELLIS2_EIGHT_BITS` asks for, or "" for none; raises `FieldError`."""
    text = configuration().eight_bits.lower()
    if text not in _MEANINGS:
        rule = message("give 1 or int8 for 8 bits, fp8 for those of cards from RTX 40 on, or 0")
        raise FieldError(EIGHT_BITS_VARIABLE, configuration().eight_bits, rule)
    return _MEANINGS[text]


def suits(asked: str, kind: str, capability: str = "") -> str:
    """What a device (as for `precision.precision_of`) holds weights in: fp8 where it multiplies them, else int8."""
    major, _, minor = capability.partition(".")
    multiplies = kind == "nvidia" and major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= FP8_SINCE
    return INT8 if asked == FP8 and not multiplies else asked


def converted_path(published: Path, kind: str) -> Path:
    """Where the weights of a published file lie in 8 bits."""
    return published.with_name(f"{published.stem}.{kind}.safetensors")


def converted_of(published: Path) -> Iterator[Path]:
    """Those that are there of a published file, of either kind."""
    for kind in KINDS:
        path = converted_path(published, kind)
        if path.is_file():
            yield path
