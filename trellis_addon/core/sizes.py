"""Numbers of bytes as people say them: as disks and downloads count, in powers of a thousand."""

from __future__ import annotations

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


def size_words(size: float) -> str:
    """ "412 GB", "2.6 GB", "38 MB", "340 kB", "12 B"."""
    unit, scale = _unit(size)
    return f"{_number(size / scale, unit)} {unit}"


def progress_words(done: float, total: float | None) -> str:
    """ "1.2 of 16.1 GB", in the unit of the whole; what is done alone where the whole is not known."""
    if total is None:
        return size_words(done)
    unit, scale = _unit(total)
    return f"{_number(done / scale, unit)} of {_number(total / scale, unit)} {unit}"


def _unit(size: float) -> tuple[str, float]:
    return next(((unit, scale) for unit, scale in _UNITS if size >= 0.95 * scale), _UNITS[-1])


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "GB" and value < 100 else f"{value:.0f}"
