"""The command line of the weights: `local weights list|fetch|remove|verify|manifest`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ..core.errors import EngineError, FieldError
from ..core.progress import Progress
from ..core.sizes import size_words
from ..core.streams import prepare_streams
from ..runtime.layout import LocalFolder, chosen_folder, local_folder
from ..weights.fetching import disk_use, fetch, missing_bytes, origins, remove, status, verify
from ..weights.licences import LICENCES, accepted
from ..weights.manifest import make_manifest, write_manifest
from ..weights.published import BY_KEY, GROUPS, RESOLUTIONS, group_of, needed

_LINE = 15.0  # seconds between two lines of progress where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their options to the parser of `local weights`."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--folder", type=Path, help="the local backend's folder (default: TRELLIS2_LOCAL, or its own)")
    where.add_argument("--weights", type=Path, metavar="FOLDER", help="the folder of weights itself, wherever it is")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="weights_command")

    commands.add_parser("list", parents=[where], help="what is there, what is missing, under which licences")

    get = commands.add_parser("fetch", parents=[where], help="download what is missing; goes on where it broke off")
    get.add_argument(
        "--resolution",
        type=_resolutions,
        action="extend",
        metavar="N[,N]",
        help="only what these resolutions need: 512, 1024, 1536 (default: all of them)",
    )
    get.add_argument("--mask", action="store_true", help="and the model that cuts subjects out (BiRefNet)")
    get.add_argument("--texturing", action="store_true", help="and the encoder for texturing a mesh of one's own")
    get.add_argument(
        "--group", action="append", choices=list(BY_KEY), metavar="NAME", help="only this group; repeatable"
    )
    get.add_argument(
        "--source",
        default="",
        metavar="PLACE",
        help="a mirror's web address, or a folder with a copy (default: huggingface.co, or HF_ENDPOINT)",
    )
    get.add_argument(
        "--accept", action="append", choices=_to_accept(), metavar="LICENCE", help="accept these terms: dinov3"
    )

    drop = commands.add_parser("remove", parents=[where], help="delete groups from the disk")
    drop.add_argument(
        "group", nargs="+", choices=[*BY_KEY, "all"], metavar="GROUP", help=f"{', '.join(BY_KEY)}, or all"
    )

    commands.add_parser("verify", parents=[where], help="read every file and compare its hash")

    write = commands.add_parser("manifest", help="write weights.json, which makes a folder a mirror for others")
    write.add_argument("weights", type=Path, metavar="FOLDER", help="a folder with a copy of the weights")
    write.add_argument(
        "--name", default="", help="whose files they are, for those who take them (default: the folder's name)"
    )


def run(options: argparse.Namespace, allow_network: bool = True) -> int:
    """Run one of the commands and return the exit code; raises the errors of the library."""
    if options.weights_command == "manifest":
        return _manifest(options)
    local, folder = _folder(options)
    if options.weights_command == "list":
        return _list(folder)
    if options.weights_command == "fetch":
        return _fetch(options, local, folder, allow_network)
    if options.weights_command == "remove":
        keys = list(BY_KEY) if "all" in options.group else options.group
        print(f"{size_words(sum(remove(folder, key) for key in keys))} are free again.")
        return 0
    bar = _Bar()
    problems = verify(folder, bar.progress)
    bar.end()
    for problem in problems:
        print(problem.text)
    print(f"{len(problems)} of the files in {folder} are damaged." if problems else f"All files in {folder} are sound.")
    return 1 if problems else 0


def _list(folder: Path) -> int:
    agreed = accepted(folder)
    print(f"{'group':<13} {'state':<9} {'on disk':>8} {'size':>8}  licence")
    for found in status(folder):
        licence = LICENCES[found.group.licence]
        note = (
            f", accepted {time.strftime('%Y-%m-%d', time.localtime(agreed[licence.key]))}"
            if licence.key in agreed
            else ""
        )
        note = ", to be accepted" if licence.must_accept and not note else note
        sizes = f"{size_words(found.have) if found.have else '-':>8} {size_words(found.size):>8}"
        print(f"{found.group.key:<13} {found.state:<9} {sizes}  {licence.name} ({licence.holder}{note})")
        print(f"{'':<13} {found.group.label}: for {found.group.purpose}")
        if found.problem:
            print(f"{'':<13} {found.problem}")
    for licence in LICENCES.values():
        if licence.credit and any(s.group.licence == licence.key and s.have for s in status(folder)):
            print(licence.credit)
    came = f", from {', '.join(origins(folder))}" if origins(folder) else ""
    print(f"{size_words(disk_use(folder))} in {folder}{came}")
    for resolution in RESOLUTIONS:
        left = missing_bytes(folder, needed([resolution]))
        print(
            f"resolution {resolution}: {'there' if not _lacks(folder, resolution) else size_words(left) + ' to fetch'}"
        )
    return 0


def _lacks(folder: Path, resolution: int) -> bool:
    keys = needed([resolution])
    return any(found.state != "complete" for found in status(folder) if found.group.key in keys)


def _fetch(options: argparse.Namespace, local: LocalFolder | None, folder: Path, allow_network: bool) -> int:
    if options.group:
        groups = tuple(options.group)
    else:
        groups = needed(options.resolution or RESOLUTIONS, mask=options.mask, texturing=options.texturing)
    if local is not None:
        local.claim()
    for key in dict.fromkeys(group_of(key).licence for key in groups):
        licence = LICENCES[key]
        print(f"{licence.name}, {licence.holder}: {licence.text}")
    bar = _Bar()
    try:
        title = fetch(folder, groups, options.source, options.accept or (), bar.progress, allow_network)
    finally:
        bar.end()
    print(f"{', '.join(groups)}: from {title}, in {folder}")
    return 0


def _manifest(options: argparse.Namespace) -> int:
    bar = _Bar()
    manifest = make_manifest(options.weights, options.name, bar.progress)
    bar.end()
    path = write_manifest(options.weights, manifest)
    print(f"{path}: {len(manifest.files)} files, {size_words(sum(entry.size for entry in manifest.files))}")
    if any(entry.licence == "dinov3" for entry in manifest.files):
        print(f"DINOv3 may be passed on with a copy of its licence only: {LICENCES['dinov3'].text}")
    return 0


def _folder(options: argparse.Namespace) -> tuple[LocalFolder | None, Path]:
    """The local backend's folder, None where the weights lie elsewhere, and that of the weights."""
    if options.weights is not None and options.folder is not None:
        raise FieldError("weights", str(options.weights), "give --folder or --weights, not both")
    if options.weights is not None:
        return None, options.weights
    local = chosen_folder(options.folder) if options.folder is not None else local_folder()
    return local, local.weights


def _resolutions(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
        needed(found)
    except (ValueError, EngineError):
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(map(str, RESOLUTIONS))}") from None
    return found


def _to_accept() -> list[str]:
    return sorted({group.licence for group in GROUPS if LICENCES[group.licence].must_accept})


class _Bar:
    """One line of progress on a terminal; elsewhere one now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        self.progress = Progress(self._show)

    def end(self) -> None:
        if self._live and self._shown:
            print(file=sys.stderr)

    def _show(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if self._live:
            print(f"\r{share:4.0%} {stage:<70}", end="", file=sys.stderr, flush=True)
        elif now - self._shown > _LINE:
            print(f"{share:4.0%} {stage}", file=sys.stderr, flush=True)
        else:
            return
        self._shown = now


def main(arguments: list[str] | None = None, **options: Any) -> int:
    """The commands by themselves."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="local weights")
    add_arguments(parser)
    return run(parser.parse_args(arguments), **options)
