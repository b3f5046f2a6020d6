"""What was measured of a device, kept from one session to the next: for as long as device, driver and PyTorch stay.

One small JSON file in the folder of jobs. It saves a second or two at the first asset of a session; where it cannot be
read or written, it is measured again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch

from ...core.files import move
from ...core.folders import default_folder

log = logging.getLogger(__name__)

FILE = "devices.json"
_MOST = 64  # entries: cards, drivers and versions come and go


def recall(what: str, device: torch.device, dtype: torch.dtype) -> list[str] | None:
    """What was kept of this device in this type; None where nothing was, or something of it has changed."""
    found = _read(default_folder() / FILE).get(_key(what, device, dtype))
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None


def keep(what: str, device: torch.device, dtype: torch.dtype, names: list[str]) -> None:
    """Keep it, in the place of what was kept before."""
    path = default_folder() / FILE
    known = _read(path)
    key = _key(what, device, dtype)
    known.pop(key, None)
    known[key] = names
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(dict(list(known.items())[-_MOST:]), indent=1), encoding="utf-8")
        move(part, path)
    except OSError as error:
        log.info("What was measured of %s is not kept: %s", device, error)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _key(what: str, device: torch.device, dtype: torch.dtype) -> str:
    """Everything that makes another measurement."""
    major, minor = torch.cuda.get_device_capability(device)
    facts = (
        what,
        torch.cuda.get_device_name(device),
        f"{major}.{minor}",
        f"driver {_driver()}",
        f"torch {torch.__version__}",
        f"cudnn {torch.backends.cudnn.version()}",
        str(dtype).removeprefix("torch."),
    )
    return ", ".join(facts)


def _driver() -> str:
    """The driver's version, as far as PyTorch tells it: that of the CUDA it knows."""
    ask = getattr(torch._C, "_cuda_getDriverVersion", None)
    try:
        return str(ask()) if ask is not None else ""
    except RuntimeError:
        return ""
