"""Under whose terms the weights come, and which of them the user has accepted, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import EngineError
from ..core.files import move
from ..core.messages import message, reason_of

ACCEPTED_FILE = "licences.json"


@dataclass(frozen=True)
class Licence:
    """`text` is the address of the terms, `credit` what is to be shown where the model is listed."""

    key: str
    name: str
    holder: str
    text: str
    must_accept: bool = False
    credit: str = ""


LICENCES = {
    licence.key: licence
    for licence in (
        Licence("trellis2", "MIT", "Microsoft", "https://github.com/microsoft/TRELLIS.2/blob/main/LICENSE"),
        Licence("trellis", "MIT", "Microsoft", "https://github.com/microsoft/TRELLIS/blob/main/LICENSE"),
        Licence(
            "dinov3",
            "DINOv3 License",
            "Meta",
            "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
            must_accept=True,
            credit="Built with DINOv3",
        ),
        Licence("birefnet", "MIT", "Peng Zheng et al.", "https://github.com/ZhengPeng7/BiRefNet/blob/main/LICENSE"),
    )
}


class LicenceError(EngineError):
    """Terms have not been accepted; `licence` says which."""

    code = "licenceNotAccepted"

    def __init__(self, licence: Licence) -> None:
        super().__init__(
            message(
                "{holder}'s model comes under the {licence}, which has to be accepted first: read {address} , "
                "then accept it in Preferences > Local GPU, or with --accept {key}."
            ),
            holder=licence.holder,
            licence=licence.name,
            address=licence.text,
            key=licence.key,
        )
        self.licence = licence


def accepted(folder: Path) -> dict[str, float]:
    """The keys of the terms that were accepted for this folder of weights, and when, in Unix seconds."""
    return {key: float(entry.get("accepted") or 0) for key, entry in _read(folder).items() if key in LICENCES}


def accept(folder: Path, keys: Iterable[str]) -> None:
    """Remember that the user accepted these terms now; the first time counts. Raises `EngineError`."""
    known = _read(folder)
    for key in keys:
        licence = licence_of(key)
        entry = {"name": licence.name, "text": licence.text, "accepted": round(time.time())}
        known.setdefault(key, entry)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{ACCEPTED_FILE}.new"
        temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        move(temporary, folder / ACCEPTED_FILE)
    except OSError as error:
        raise EngineError(
            "{folder} cannot be written to ({reason}); choose another folder for the weights.",
            folder=folder,
            reason=reason_of(error),
        ) from error


def demand(folder: Path, keys: Iterable[str]) -> None:
    """Raise `LicenceError` where one of these terms has to be accepted and is not."""
    known = accepted(folder)
    for key in keys:
        if licence_of(key).must_accept and key not in known:
            raise LicenceError(licence_of(key))


def licence_of(key: str) -> Licence:
    if key not in LICENCES:
        raise EngineError('There is no licence "{key}" here; it is one of {allowed}.', key=key, allowed=list(LICENCES))
    return LICENCES[key]


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads((folder / ACCEPTED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or lost: then it is asked again
        return {}
    return {key: entry for key, entry in known.items() if isinstance(entry, dict)} if isinstance(known, dict) else {}
