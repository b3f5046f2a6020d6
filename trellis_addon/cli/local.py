"""The commands about the local backend: local install, remove, weights, doctor."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.configuration import LOCAL_VARIABLE


def add_local_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `local` with its own commands to argparse's sub-parsers."""
    local = commands.add_parser("local", help="TRELLIS.2 on this machine: install, weights, doctor, remove")
    inner = local.add_subparsers(required=True, metavar="COMMAND", parser_class=_Late)

    install = inner.add_parser("install", parents=[common], help="put PyTorch and what else is needed into a folder")
    _add_folder(install)
    install.add_argument(
        "--build", default="auto", help="which PyTorch: auto (default), cuda, cuda12, rocm, apple or cpu"
    )
    install.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take all packages from this folder, none from the web"
    )
    install.add_argument("--python", default="", metavar="EXE", help="the Python to build on (default: one is found)")
    install.add_argument("--again", action="store_true", help="also where it is installed already: a repair")
    install.add_argument("--yes", action="store_true", help="do not ask")
    install.set_defaults(
        run=_install, go_on="Run the same command again to go on; `local remove` takes away what is there."
    )

    remove = inner.add_parser("remove", parents=[common], help="take everything away again")
    _add_folder(remove)
    remove.add_argument("--keep-weights", action="store_true", help="leave the downloaded weights where they are")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(run=_remove, go_on="Run the same command again to remove the rest.")

    weights = inner.add_parser("weights", parents=[common], help="the weights: list, fetch, verify, remove, manifest")
    weights.fill = _add_weights
    weights.set_defaults(run=_weights, go_on="Run the same command again to go on.")

    examine = inner.add_parser("doctor", parents=[common], help="a report on this machine, for a support thread")
    examine.fill = _add_doctor
    examine.set_defaults(run=_doctor, go_on="")


class _Late(argparse.ArgumentParser):
    """A parser that asks for its options only when it is used: their modules cost a tenth of a second to import."""

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *arguments: Any, **more: Any) -> Any:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(*arguments, **more)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    from . import weights as weights_cli

    weights_cli.add_arguments(parser)


def _weights(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from . import weights as weights_cli

    return weights_cli.run(options, allow_network)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    from ..local.doctor import report as doctor

    doctor.add_arguments(parser)


def _doctor(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..local.doctor import report as doctor

    return doctor.run(options)


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="where everything lies (default: the variable TRELLIS2_LOCAL, or local/ in the folder of the jobs)",
    )


def _install(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.errors import EngineError
    from ..core.progress import Progress
    from ..core.sizes import size_words
    from ..local.environment.install import install, make_plan
    from ..local.machine.hardware import find_machine

    machine = find_machine()
    plan = make_plan(
        options.folder,
        machine,
        build=options.build,
        wheels=options.wheels,
        python=options.python,
        again=options.again,
    )
    for card in machine.cards:
        driver = f", driver {card.driver}" if card.driver else ""
        print(f"Card      {card.name}{f', {card.total / 2**30:.0f} GiB' if card.total else ''}{driver}")
    print(f"PyTorch   {plan.build.version} for {plan.build.label}: {plan.build.reason or 'as you chose.'}")
    print(f"Python    {plan.target.version} {f'({plan.python})' if plan.python else '(is downloaded)'}")
    print(f"Folder    {plan.folder.root}")
    if not plan.is_done:
        print(f"Download  {size_words(plan.download)}; needs {size_words(plan.disk)} of disk while installing")
    for note in plan.notes:
        print(f"          {note}")
    if plan.obstacles:
        raise EngineError(plan.obstacles[0])
    if not plan.is_done and not _agreed(options, "Install?"):
        return 1
    line = _Line()
    with line:
        state = install(plan, Progress(line.show), allow_network=allow_network)
    print(f"Installed in {plan.folder.root}: Python {state.python}, PyTorch {state.torch}, runs on {state.device}.")
    if plan.build.device != "cpu" and state.device == "cpu":
        print("The graphics card did not answer, so that it works on the processor; `local doctor` says more.")
    _print_variable(options)
    return 0


def _remove(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.progress import Progress
    from ..core.sizes import size_words
    from ..local.environment.remove import remove, size_of
    from ..runtime.layout import chosen_folder, local_folder

    folder = local_folder() if options.folder is None else chosen_folder(options.folder)
    if folder.state() is not None:
        kept = ", the weights stay" if options.keep_weights else ""
        print(f"Folder    {folder.root}\nHolds     {size_words(size_of(folder))}{kept}")
        if not _agreed(options, "Remove?"):
            return 1
    line = _Line()
    with line:
        freed = remove(folder, keep_weights=options.keep_weights, progress=Progress(line.show))
    print(f"Removed: {size_words(freed)} are free again.")
    return 0


def _agreed(options: argparse.Namespace, question: str) -> bool:
    """Whether the user says yes, now or by --yes; where nobody can be asked, only by --yes."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        print(f"{question} Say so with --yes.", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _print_variable(options: argparse.Namespace) -> None:
    from ..runtime.layout import chosen_folder, local_folder

    if options.folder is not None and chosen_folder(options.folder) != local_folder():
        print(f"To use it, set {LOCAL_VARIABLE}={options.folder.absolute()}, or the folder in Blender's preferences.")


class _Line:
    """One line of progress on a terminal; elsewhere a line for each stage, and one every ten seconds."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._told = 0.0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        if self._live and self._stage:
            print(file=sys.stderr)

    def show(self, stage: str, share: float) -> None:
        text = f"{share:4.0%} {stage}"
        if self._live:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            print("\r" + text[: columns - 1].ljust(columns - 1), end="", file=sys.stderr, flush=True)
        elif stage.split()[:1] != self._stage.split()[:1] or time.monotonic() - self._told > 10:
            print(text, file=sys.stderr, flush=True)
            self._told = time.monotonic()
        self._stage = stage
