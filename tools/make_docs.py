"""Write docs/settings.md and presets/ from the one definition of the settings; a test holds them together."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trellis_addon.task.presets import SUBDIR, preset_script, shipped  # noqa: E402
from trellis_addon.task.settings import FIELDS, IDENTITY, Field  # noqa: E402

TARGET = ROOT / "docs" / "settings.md"

HEAD = """# Settings

Every field of the task (`3dInference`, model `microsoft:trellis-2@4b`), with its name in the protocol, in Python
and in Blender, and on the command line. Written by `tools/make_docs.py` from `trellis_addon/settings.py`.

What is not set is not sent: the service decides. A field that is set to its default value is sent.
Where the platform names no default, the one given is the model's own.

| protocol | Python, Blender | command line | allowed | default | meaning |
|---|---|---|---|---|---|
"""


def settings_page() -> str:
    return HEAD + "".join(_row(field) for field in FIELDS)


def _row(field: Field) -> str:
    settable = field.path not in IDENTITY
    default = field.effective_default
    shown = "" if default is None else f"`{str(default).lower() if field.type is bool else default}`"
    cells = (
        f"`{field.path}`",
        f"`{field.name}`" if settable else "",
        f"`--{field.name.replace('_', '-')}`" if settable else "",
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
    for path, text in {TARGET: settings_page(), **preset_files()}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
