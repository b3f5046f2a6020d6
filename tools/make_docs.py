"""Write docs/settings.md, docs/commands.md and presets/ from what the code defines; a test holds them together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trellis_addon.cli.commands import _parser  # noqa: E402
from trellis_addon.task.presets import SUBDIR, preset_script, shipped  # noqa: E402
from trellis_addon.task.settings import FIELDS, IDENTITY, OF_A_MESH, OF_LATENTS, OWN_FIELDS, Field  # noqa: E402

TARGET = ROOT / "docs" / "settings.md"
COMMANDS = ROOT / "docs" / "commands.md"

HEAD = """# Settings

Every field of the task (`3dInference`, model `microsoft:trellis-2@4b`), with its name in the protocol, in Python
and in Blender, and on the command line. Written by `tools/make_docs.py` from `trellis_addon/task/settings.py`.

What is not set is not sent: the service decides. A field that is set to its default value is sent. The one exception is
`includeCost`, which the paid API is asked for unless you have set it: totals and limits need it.
Where the platform names no default, the one given is the model's own.

"""

TABLE = """| protocol | Python, Blender | command line | allowed | default | meaning |
|---|---|---|---|---|---|
"""

OWN = """
## Ours alone

What the draft, the local GPU and [a service of your own](service.md) understand besides. The remote API is never sent
any of it: it is refused before anything leaves this machine.

"""

COMMANDS_HEAD = """# Commands

Every command with its options; `python -m trellis_addon COMMAND --help` says the same, and so does
`blender --command trellis2 COMMAND --help`. Written by `tools/make_docs.py`. Examples are in
[scripting.md](scripting.md), [local.md](local.md) and [service.md](service.md). A command ends with 0 where all
went well, with 1 where something failed, with 2 for what was asked for wrongly, and with 130 where it was stopped.
Every command also has `--verbose`, which logs what happens.

The options of the task, from `--webhook-url` to `--tex-slat-rescale-t`, are in [settings.md](settings.md).
"""


def settings_page() -> str:
    published = HEAD + TABLE + "".join(_row(field) for field in FIELDS)
    return published + OWN + TABLE + "".join(_row(field) for field in OWN_FIELDS)


def commands_page() -> str:
    """Every command of the parser."""
    return COMMANDS_HEAD + "".join(_section(parser) for parser in _commands(_parser("trellis_addon")))


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands that do something, in order, those within others too."""
    if fill := getattr(parser, "fill", None):  # its options are added when they are needed
        fill(parser)
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for command in group.choices.values():
            yield from _commands(command)
    if not groups:
        yield parser


def _section(parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if not _is_common(action)]
    lines = [f"| {_name(action)} | {_meaning(action)} |\n" for action in actions]
    title = parser.prog.partition(" ")[2]
    return f"\n## {title}\n\n" + ("| | |\n|---|---|\n" + "".join(lines) if lines else "No options.\n")


def _is_common(action: argparse.Action) -> bool:
    is_setting = action.dest.startswith("set_")
    return is_setting or action.help == argparse.SUPPRESS or action.dest in ("help", "verbose")


def _name(action: argparse.Action) -> str:
    takes = action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    value = action.metavar or (f"{{{'|'.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    value = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return f"`{value}`".replace("|", "\\|")
    shown = ", ".join(action.option_strings) + (f" {value}" if takes else "")
    return f"`{shown}`".replace("|", "\\|") + (" (required)" if action.required else "")


def _meaning(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%").replace("|", "\\|")


def _option(field: Field) -> str:
    """How the command line says it; what belongs to one kind of task is an option of that command."""
    if field.name in OF_A_MESH:
        return {"facing": "`texture --facing`", "uvs": "`texture --keep-uvs`, `--new-uvs`"}[field.name]
    if field.name in OF_LATENTS:
        return "`vary --strength`"
    return f"`--{field.name.replace('_', '-')}`"


def _row(field: Field) -> str:
    settable = field.path not in IDENTITY
    default = field.effective_default
    shown = "" if default is None else f"`{str(default).lower() if field.type is bool else default}`"
    cells = (
        f"`{field.path}`",
        f"`{field.name}`" if settable else "",
        _option(field) if settable else "",
        field.allowed.removeprefix("allowed: "),
        "required" if field.required else shown,
        field.description,
    )
    return "| " + " | ".join(cells) + " |\n"


def preset_files() -> dict[Path, str]:
    """The scripts of the presets that come with the extension, by path; Blender shows the file's name."""
    folder = ROOT / "presets" / SUBDIR
    return {folder / f"{name.replace(' ', '_')}.py": preset_script(settings) for name, settings in shipped().items()}


if __name__ == "__main__":
    for former in set((ROOT / "presets" / SUBDIR).glob("*.py")) - set(preset_files()):
        former.unlink()
    for path, text in {TARGET: settings_page(), COMMANDS: commands_page(), **preset_files()}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
