"""Where this machine gets its Python packages from: the settings of pip, and of uv, that a company has made.

Read are pip's variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, PIP_CERT, PIP_PROXY), those
of uv, and pip's configuration files where pip itself looks for them. A variable counts more than a file.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PUBLIC_INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class PipSettings:
    """`indexes` are addresses of simple indexes, the first one asked first; `find_links` folders or pages of links.

    `certificate` is a file of certificates to trust besides the system's, `proxy` the address of a proxy; "" for none.
    """

    indexes: tuple[str, ...] = (PUBLIC_INDEX,)
    find_links: tuple[str, ...] = ()
    certificate: str = ""
    proxy: str = ""


def pip_settings(environment: Mapping[str, str] | None = None, files: list[Path] | None = None) -> PipSettings:
    """The settings in force for whoever runs this."""
    variables = os.environ if environment is None else environment
    told = _from_files(_files(variables) if files is None else files)

    def setting(name: str, *others: str) -> str:
        for variable in ("PIP_" + name.upper().replace("-", "_"), *others):
            if value := variables.get(variable, "").strip():
                return value
        return told.get(name, "")

    first = setting("index-url", "UV_DEFAULT_INDEX", "UV_INDEX_URL") or PUBLIC_INDEX
    extra = setting("extra-index-url", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    indexes = (
        [] if setting("no-index", "UV_NO_INDEX").lower() in ("1", "true", "yes", "on") else [first, *extra.split()]
    )
    return PipSettings(
        # uv lets an index have a name: name=https://...
        indexes=tuple(dict.fromkeys(url.partition("=")[2] if _is_named(url) else url for url in indexes)),
        find_links=tuple(setting("find-links", "UV_FIND_LINKS").replace(",", " ").split()),
        certificate=setting("cert"),
        proxy=setting("proxy"),
    )


def _is_named(url: str) -> bool:
    return "=" in url.partition("://")[0]


def _from_files(files: list[Path]) -> dict[str, str]:
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


def _files(variables: Mapping[str, str]) -> list[Path]:
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
