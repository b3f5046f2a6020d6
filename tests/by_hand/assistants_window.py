"""An assistant in a real Blender window: nothing before it is let in, then each tool, undo, and the door shut again.

    python tests/by_hand/assistants_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from window import NAME, Window, make_parser  # noqa: E402

_SETUP = f"""
stored = bpy.context.preferences.addons[{NAME}].preferences
"""


def main() -> None:
    options = make_parser(__doc__, pictures=ROOT / "build" / "assistants", only=False).parse_args()
    from trellis_addon.agents.blender import ask
    from trellis_addon.api import generate
    from trellis_addon.core.errors import TrellisError

    def refused() -> bool:
        try:
            ask("objects", {})
        except TrellisError as error:
            return "Let Assistants In" in str(error)
        return False

    window = Window(options)
    os.environ["TRELLIS2_HOME"] = str(window.stage / "jobs")  # where that Blender keeps its data, seen from here
    window.stage.mkdir(parents=True, exist_ok=True)
    (window.stage / "made.glb").unlink(missing_ok=True)
    made = generate(ROOT / "examples" / "lantern.png", output=window.stage / "made.glb")
    shutil.copyfile(made.path, window.stage / "asked.glb")
    with window.open():
        window.install(options.zip)
        window.run(_SETUP)
        assert refused(), "nobody has let it in"
        window.run("stored.assistants = True")
        assert [each["name"] for each in ask("objects", {})["objects"]] == ["Cube"]
        there = ask(
            "import_glb",
            {"path": f"{window.inside}/asked.glb", "name": "Lantern", "height": 1.5, "location": [3, 0, 0]},
        )
        assert there["name"] == "Lantern" and abs(there["size_metres"][2] - 1.5) < 1e-4, there
        ask("place", {"name": "Lantern", "turn_degrees": 30})
        found = ask("measure", {"name": "Lantern", "contract": "unity"})
        assert found["triangles"] > 1000 and found["soundness"], found
        wanted = {"names": ["Lantern"], "path": f"{window.inside}/out.fbx", "engine": "unity", "overwrite": True}
        assert ask("export", wanted)["files"]
        time.sleep(1.0)
        window.shot(options.pictures / "imported.png")
        window.point(500, 450)
        window.key("ctrl+z")
        window.key("ctrl+z")
        time.sleep(1.0)
        assert [each["name"] for each in ask("objects", {})["objects"]] == ["Cube"], "two undo steps take it back"
        window.run("stored.assistants = False")
        assert refused(), "the door is shut"
        log = window.log()
        assert "Traceback" not in log, log[-2000:]
    print("passed")


if __name__ == "__main__":
    main()
