"""What the bundled wheels are licensed under, as their own metadata says."""

from __future__ import annotations

import re
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

# Licences of which GPL-3.0-or-later work may include parts, by SPDX name.
COMPATIBLE = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "HPND", "ISC", "MIT", "MIT-CMU", "MPL-2.0"}
COMPATIBLE |= {"PSF-2.0", "Unlicense", "Zlib"}
# Trove classifiers are what older wheels have instead.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "The Unlicense (Unlicense)": "Unlicense",
}


def third_party(wheels: list[Path]) -> str:
    """The text of THIRD_PARTY.md; ends the build where a wheel's licence is unknown or does not go with the GPL."""
    rows = {}
    for wheel in wheels:
        metadata = read_metadata(wheel)
        name, version, licence = metadata["Name"], metadata["Version"], licence_of(metadata)
        parts = set(re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", licence)) - {""}
        if not parts or not parts <= COMPATIBLE:
            raise SystemExit(f"{wheel.name}: its licence is {licence or 'not stated'}, which the GPL may not allow.")
        rows[name.lower()] = f"| {name} | {version} | {licence} | {source_of(metadata)} |"
    lines = [
        "# Bundled packages",
        "",
        "In `wheels/`, unmodified, each with its licence's text in its `.dist-info` folder.",
        "",
        "| package | version | licence (SPDX) | source |",
        "|---|---|---|---|",
        *(rows[name] for name in sorted(rows)),
    ]
    return "\n".join(lines) + "\n"


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return message_from_bytes(archive.read(name))


def source_of(metadata: Message) -> str:
    """Where the package's sources are, or else its home, in its own words."""
    links = [value.partition(",") for value in metadata.get_all("Project-URL", [])]
    named = {label.strip().lower(): link.strip() for label, _, link in links}
    wanted = ("source", "source code", "repository", "homepage")
    return next((named[label] for label in wanted if label in named), str(metadata["Home-page"] or ""))


def licence_of(metadata: Message) -> str:
    """As an SPDX expression, from whichever of the three fields is there; "" where none can be read."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    found = [
        value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    if known := sorted({CLASSIFIERS[name] for name in found if name in CLASSIFIERS}):
        return " AND ".join(known)
    plain = str(metadata["License"] or "").strip()
    return plain if plain in COMPATIBLE else ""
