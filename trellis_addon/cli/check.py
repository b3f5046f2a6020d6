"""The command that holds assets against a contract: check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, TrellisError
from ..core.streams import printable

if TYPE_CHECKING:
    from ..contract.check import Finding
    from ..contract.contract import Contract


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    from ..contract.presets import PRESETS

    check = commands.add_parser("check", parents=[common], help="hold assets against a contract")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="FILE.glb, or a folder of them")
    check.add_argument(
        "--contract", required=True, metavar="FILE", help=f"a JSON file of rules, or one of {', '.join(PRESETS)}"
    )
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    """0 where every file keeps the contract, 1 where one does not or cannot be read; each rule broken in a line."""
    from ..contract.contract import find_contract

    try:
        contract = find_contract(options.contract)
    except TrellisError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    broken = 0
    for file in _files(options.files):
        try:
            found = _findings(file, contract)
        except TrellisError as error:
            print(printable(f"{file}: {error}"), file=sys.stderr)
            broken += 1
            continue
        broken += bool(found)
        print(printable(f"{file}: {'keeps the contract' if not found else f'breaks {len(found)} of its rules'}"))
        for finding in found:
            print(printable(f"  {finding.rule}: {finding.sentence}"))
    return 1 if broken else 0


def _files(given: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in given:
        files += sorted(file for file in path.iterdir() if _is_glb(file)) if path.is_dir() else [path]
    if not files:
        raise InputError("There is no GLB in {folder}; give a GLB file.", folder=given[0])
    return files


def _findings(file: Path, contract: Contract) -> list[Finding]:
    from ..contract.check import check
    from ..contract.glb_facts import glb_facts

    if not file.is_file():
        raise InputError("There is no file {path}; give a GLB file.", path=file)
    if not _is_glb(file):
        raise InputError("{file} is no GLB; export the asset as a GLB to check it.", file=file)
    return check(glb_facts(file), contract)


def _is_glb(file: Path) -> bool:
    return file.suffix.lower() == ".glb"
