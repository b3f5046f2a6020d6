"""Where this machine gets its Python packages from: the settings of pip, and of uv, that a company has made.

Read are pip's variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, PIP_CERT, PIP_PROXY), those
of uv, and pip's configuration files where pip itself looks for them. A variable counts more than a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.configuration import configuration
from ...transfer.pip_files import pip_files, read_pip_files

PUBLIC_INDEX = ""  # pip's own, whose address pip itself knows: `default_index`


@dataclass(frozen=True)
class PipSettings:
    """`indexes` are addresses of simple indexes, the first one asked first, pip's own where one is empty; `find_links`
    are folders or pages of links.

    `certificate` is a file of certificates to trust besides the system's, `proxy` the address of a proxy; "" for none.
    """

    indexes: tuple[str, ...] = (PUBLIC_INDEX,)
    find_links: tuple[str, ...] = ()
    certificate: str = ""
    proxy: str = ""


def pip_settings(environment: Mapping[str, str] | None = None, files: list[Path] | None = None) -> PipSettings:
    """The settings in force for whoever runs this."""
    variables = configuration().variables if environment is None else environment
    told = read_pip_files(pip_files(variables) if files is None else files)

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
