"""The folder of the local backend: what lies where in it, and what it says about itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.configuration import LOCAL_VARIABLE, configuration
from ..core.errors import EngineError
from ..core.files import move
from ..core.folders import default_folder
from ..core.machine.places import is_on_network
from ..core.messages import reason_of
from ..core.version import VERSION

STATE_FILE = "trellis2-local.json"
LOCK_FILE = "trellis2-local.lock"
# Everything that is ours in the folder; what else lies there was put there by somebody else.
PARTS = ("tools", "python", "env", "env.new", "env.old", "code", "downloads", "weights", "cache", "service", "logs")
# Made in a folder of the user's that has other things in it.
SUB_FOLDER = "trellis2"


@dataclass(frozen=True)
class Installation:
    """What the folder says about itself.

    `complete` is False while an installation is under way or was broken off. `build` is a key of `builds.BUILDS`,
    `python` and `torch` are version numbers, `installed` is in Unix seconds. `made_root`: the folder was not there
    before, and goes when everything in it is removed, with `made_above` folders above it. `device` is what the
    installation was seen to run on ("cuda", "mps" or "cpu"), `lock` the id of the list of wheels it was made from.
    """

    version: str = VERSION
    build: str = ""
    python: str = ""
    torch: str = ""
    complete: bool = False
    installed: float = 0.0
    made_root: bool = False
    made_above: int = 0
    device: str = ""
    lock: str = ""


@dataclass(frozen=True)
class LocalFolder:
    """The chosen folder. Nothing is made by asking where something lies; `claim` it before writing into it."""

    root: Path

    @property
    def env(self) -> Path:
        """The virtual environment."""
        return self.root / "env"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return python_of(self.env)

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def cache(self) -> Path:
        """Home, temporary folder and all caches of what runs here."""
        return self.root / "cache"

    @property
    def pycache(self) -> Path:
        """The compiled modules of what runs here, those of the Python that it is based on among them."""
        return self.cache / "pycache"

    @property
    def service(self) -> Path:
        """The worker's lasting folder, with its token and the user's pictures.

        It is `elsewhere` on Windows, whose rights in a folder on another drive let everybody read, and where the folder
        lies on another machine: SQLite's log cannot be shared there, nor an address of this machine be of use on that.
        """
        return (self.elsewhere if os.name == "nt" or is_on_network(self.root) else self.root) / "service"

    @property
    def elsewhere(self) -> Path:
        """What belongs to this folder and this machine below the user's own data."""
        name = f"{os.path.normcase(os.path.abspath(self.root))}\n{platform.node()}"
        return default_folder() / "workers" / hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def downloads(self) -> Path:
        """Wheels, while installing."""
        return self.root / "downloads"

    @property
    def tools(self) -> Path:
        return self.root / "tools"

    @property
    def managed_python(self) -> Path:
        """Pythons that were fetched because none was found."""
        return self.root / "python"

    @property
    def state_file(self) -> Path:
        return self.root / STATE_FILE

    def code(self, version: str = VERSION) -> Path:
        """The folder that holds `trellis_addon` as of `version`."""
        return self.root / "code" / version

    def state(self) -> Installation | None:
        """What is installed; None where the folder is not ours."""
        try:
            told = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            return Installation()  # ours, whatever happened to the file
        known = {field.name: field for field in dataclasses.fields(Installation)}
        told = told if isinstance(told, dict) else {}
        return Installation(**{name: value for name, value in told.items() if name in known})

    @property
    def is_installed(self) -> bool:
        state = self.state()
        return state is not None and state.complete and self.python.is_file() and not self.lost_python

    @property
    def lost_python(self) -> str:
        """The folder of the Python that the environment was made from, where it is there no more; else ""."""
        try:
            text = (self.env / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        facts = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in text.splitlines())}
        home = facts.get("home", "")
        # On Windows the environment's own program only starts the other one; elsewhere it is a link to it.
        python = Path(home, "python.exe") if os.name == "nt" else self.python
        return home if home and not python.is_file() else ""

    def packages(self, env: Path, version: str) -> Path:
        """Where the packages of an environment of ours lie, for a Python of `version` ("3.12")."""
        return env / "Lib" / "site-packages" if os.name == "nt" else env / "lib" / f"python{version}" / "site-packages"

    def claim(self) -> Installation:
        """Make the folder ours before anything is written into it; returns what it says. Raises `EngineError`."""
        state = self.state()
        if state is None:
            missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
            state = Installation(made_root=bool(missing), made_above=max(len(missing) - 1, 0))
            self.write_state(state)
        return state

    def write_state(self, state: Installation) -> None:
        """Say what is installed; raises `EngineError` where the folder cannot be written to."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = self.state_file.with_suffix(".new")
            temporary.write_text(json.dumps(dataclasses.asdict(state), indent=2) + "\n", encoding="utf-8")
            move(temporary, self.state_file)
        except OSError as error:
            raise EngineError(
                "{folder} cannot be written to ({reason}); choose another folder for the local backend.",
                folder=self.root,
                reason=reason_of(error),
            ) from error

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a process that runs from here, of this one or `base`: whatever it writes on its own
        account (home, temporary files, caches) lies in `cache`, and no other Python's settings reach it.

        Makes the home and the temporary folder, because programs fall back to the system's where theirs is missing.
        """
        if self.root.is_dir():
            for place in ("home", "tmp"):
                (self.cache / place).mkdir(parents=True, exist_ok=True)
        kept = {
            name: value
            for name, value in (configuration().variables if base is None else base).items()
            if not _leaks(name)
        }
        return (
            kept
            | {name: str(self.cache / place) for name, place in _CONFINED.items()}
            | {
                LOCAL_VARIABLE: str(self.root),
                "PYTHONNOUSERSITE": "1",
            }
        )


class PackagesFolder(LocalFolder):
    """A folder of packages for a Python that is there already, the one that runs here: `env` goes on its path."""

    @property
    def python(self) -> Path:
        return Path(sys.executable)

    @property
    def is_installed(self) -> bool:
        state = self.state()
        return state is not None and state.complete and self.env.is_dir()


def finishing_folder() -> PackagesFolder:
    """The folder of what finishing needs, in the data folder: one for each version of Python, as Blenders have."""
    return PackagesFolder(default_folder() / "finishing" / f"{sys.version_info[0]}.{sys.version_info[1]}")


def local_folder() -> LocalFolder:
    """The folder in use: what `TRELLIS2_LOCAL` names, or `local` in the data folder."""
    named = configuration().local
    return chosen_folder(Path(named)) if named else LocalFolder(default_folder() / "local")


def chosen_folder(path: Path) -> LocalFolder:
    """The folder for the user's choice: itself where it is new, empty or ours, else `trellis2` in it."""
    path = Path(os.path.abspath(path.expanduser()))
    folder = LocalFolder(path)
    if folder.state() is None:
        try:
            if any(path.iterdir()):
                return LocalFolder(path / SUB_FOLDER)
        except OSError:  # not there, or not to be looked into: writing will tell
            pass
    return folder


def python_of(env: Path) -> Path:
    """The interpreter of a virtual environment."""
    return env / "Scripts" / "python.exe" if os.name == "nt" else env / "bin" / "python"


def _leaks(name: str) -> bool:
    """Whether a variable would bring in another Python's modules, or what this process alone should know."""
    return name.upper().startswith(("PYTHON", "PIP_", "UV_", "CONDA", "VIRTUAL_ENV"))


# Whatever writes something in the user's home or the system's temporary folder -> its own folder in `cache`.
_CONFINED = {
    "HOME": "home",
    "TMPDIR": "tmp",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "HF_HOME": "huggingface",
    "HF_HUB_CACHE": "huggingface/hub",
    "TORCH_HOME": "torch",
    "TORCH_EXTENSIONS_DIR": "torch/extensions",
    "TORCHINDUCTOR_CACHE_DIR": "torch/inductor",
    "TRITON_HOME": "triton",
    "TRITON_CACHE_DIR": "triton/cache",
    "CUDA_CACHE_PATH": "cuda",
    "WARP_CACHE_PATH": "warp",
    "MIOPEN_USER_DB_PATH": "miopen",
    "MIOPEN_CUSTOM_CACHE_DIR": "miopen",
    "AMD_COMGR_CACHE_DIR": "comgr",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "PYTHONPYCACHEPREFIX": "pycache",
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "UV_TOOL_DIR": "uv-tools",
}
if sys.platform == "win32":
    _CONFINED |= {
        "USERPROFILE": "home",
        "APPDATA": "home/AppData/Roaming",
        "LOCALAPPDATA": "home/AppData/Local",
        "TEMP": "tmp",
        "TMP": "tmp",
    }
