"""pip's configuration files: what a company has set there counts for more than pip."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.configuration import configuration


def pip_setting(name: str) -> str:
    """A setting that pip's files name, such as "cert"; empty where none does."""
    return read_pip_files(pip_files(configuration().variables)).get(name, "")


def read_pip_files(files: Sequence[Path]) -> dict[str, str]:
    """The settings of pip's files, a later one counting more; [install] counts more than [global]."""
    told: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in files:
        # pip's are read as they are: a % in a password is a %
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself refuses it, with its own words
        for section, values in told.items():
            if parser.has_section(section):
                values |= {name.replace("_", "-"): value.strip() for name, value in parser.items(section)}
    return told["global"] | told["install"]


def pip_files(variables: Mapping[str, str]) -> list[Path]:
    """pip's files, as its documentation lists them: the machine's, the user's, and the one that a variable names."""
    named = variables.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path.home()
    if sys.platform == "win32":
        roaming = Path(variables.get("APPDATA", home))
        found = [Path(variables.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / "pip.ini"]
        found += [home / "pip" / "pip.ini", roaming / "pip" / "pip.ini"]
    else:
        system = variables.get("XDG_CONFIG_DIRS", "") or "/etc/xdg"
        user = Path(variables.get("XDG_CONFIG_HOME", "") or home / ".config") / "pip"
        found = [Path(folder) / "pip" / "pip.conf" for folder in system.split(":") if folder] + [Path("/etc/pip.conf")]
        if sys.platform == "darwin":
            found.insert(0, Path("/Library/Application Support/pip/pip.conf"))
            support = home / "Library" / "Application Support" / "pip"
            user = support if support.is_dir() else user
        found += [home / ".pip" / "pip.conf", user / "pip.conf"]
    return [*found, *([Path(named)] if named else [])]
