"""Which proxy a request goes through: what the environment says, or else the system's settings, read with patience.

A client reads it all here, and not httpx: there one entry that it cannot read ends every request with a traceback. What
is wrong is told when it is needed, by the name of its variable; a wrong entry of NO_PROXY is passed over.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import platform
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..core.addresses import as_number, is_host, is_this_machine, split_place
from ..core.configuration import configuration
from ..core.errors import NetworkSettingsError
from ..core.messages import message

SCHEMES = ("http", "https", "socks5", "socks5h")
_OTHER_NAMES = {"socks": "socks5"}  # as some desktops write it
_SYSTEM = message("the system's proxy settings")


@dataclass(frozen=True)
class Proxy:
    """A proxy, and the variable that names it. `login` is (name, password), as they are sent."""

    scheme: str
    host: str
    port: int | None
    variable: str
    login: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")


class Proxies:
    """The proxies of this machine, as they are now.

    `always`, an address, goes before those of the environment; `variable` names where it comes from. This machine
    itself is asked directly, unless `to_the_letter`: then only where NO_PROXY says so.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        always: str = "",
        variable: str = "",
        to_the_letter: bool = False,
    ) -> None:
        self._to_the_letter = to_the_letter
        variables = configuration().variables if environment is None else environment
        self._named: dict[str, tuple[str, str]] = {}  # by the scheme of what is asked for: variable, value
        self._is_system = False
        if always:
            self._exceptions = ""
            self._named["all"] = (variable, always)
            return
        self._exceptions = _variable(variables, "NO_PROXY")[1]
        for scheme in ("http", "https", "all"):
            name, value = _variable(variables, f"{scheme.upper()}_PROXY")
            if value:
                self._named[scheme] = (name, value)
        if not self._named and environment is None:
            self._named = {scheme: (_SYSTEM, value) for scheme, value in _of_the_system().items()}
            self._is_system = bool(self._named)

    def proxy_for(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """What a request to a host goes through; None for directly. Raises `NetworkSettingsError`."""
        if is_this_machine(host) and not self._to_the_letter:
            return None
        variable, value = self._named.get(scheme) or self._named.get("all") or ("", "")
        if not value or passes_by(self._exceptions, scheme, host, port):
            return None
        if self._is_system and urllib.request.proxy_bypass(host):
            return None
        return _read(value, variable)


def passes_by(exceptions: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether a host is among those of NO_PROXY: names with all below them, addresses, ranges, `*`, also with ports."""
    host = _as_asked(host.strip("[]").rstrip("."))
    number = as_number(host)
    port = port or {"http": 80, "https": 443}.get(scheme, 0)
    for entry in re.split(r"[\s,;|]+", exceptions.lower()):
        only, mark, rest = entry.strip("'\"").partition("://")
        if mark and only not in (scheme, "all"):
            continue
        name = rest if mark else only
        if name == "*" or (name == "<local>" and number is None and "." not in host):
            return True
        if (found := _range(name)) is not None:
            network, only_port = found
            if only_port in ("", str(port)) and number is not None and number in network:
                return True
            continue
        name, named_port = split_place(name.partition("/")[0])
        if named_port in ("", str(port)) and _is_meant(host, number, name):
            return True
    return False


def _is_meant(host: str, number: object, name: str) -> bool:
    if number is not None and as_number(name) == number:
        return True
    if "*" in name:
        return fnmatch.fnmatchcase(host, name) or host == name.removeprefix("*.")
    name = _as_asked(name.strip("."))
    return bool(name) and (host == name or (number is None and host.endswith("." + name)))


def _as_asked(name: str) -> str:
    """A host's name in small letters, and as name servers are asked where other letters are in it."""
    name = name.lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _range(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str] | None:
    """A range of addresses and the port, if any, of an entry such as 10.0.0.0/8 or [fd00::]/8:443."""
    address, slash, length = text.partition("/")
    if not slash:
        return None
    length, _, port = length.partition(":")
    try:
        return ipaddress.ip_network(f"{address.strip('[]')}/{length.strip(']')}", strict=False), port
    except ValueError:
        return None


def _variable(variables: Mapping[str, str], name: str) -> tuple[str, str]:
    """(name as it is written there, value): the one in small letters counts more, as for curl and for Python."""
    for written in (name.lower(), name):
        if written in variables:
            return written if os.name != "nt" else name, variables[written].strip()
    return name, ""


def _of_the_system() -> dict[str, str]:
    """The addresses of the proxies that are set in Windows or macOS, by scheme."""
    found: dict[str, str] = {}
    if platform.system() in ("Windows", "Darwin"):
        found = urllib.request.getproxies()
        # Windows' SOCKS comes under the name of its oldest form, macOS' as http://
        found = {scheme: re.sub(r"^socks4?://", "socks5://", value) for scheme, value in found.items()}
        if socks := found.get("socks"):
            found.setdefault("all", "socks5://" + socks.partition("://")[2])
    return {scheme: value for scheme, value in found.items() if scheme in ("http", "https", "all") and value}


def _read(value: str, variable: str) -> Proxy:
    text = value.strip().strip("'\"").strip()
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    scheme = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
    login, _, place = rest.rpartition("@")  # a password may have any sign in it
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    host, port = split_place(place)
    host = host.replace("%25", "%", 1) if ":" in host else host  # as addresses write the sign before a zone
    if not port.isdigit():
        place = host + (":..." if port else "")  # it may be a password whose host was forgotten
    shown = f"{scheme}://{place}" if mark else place
    if mark and scheme not in SCHEMES:
        raise NetworkSettingsError(
            '"{address}" in {variable} is no kind of proxy that can be used; give an address with http://, https:// '
            "or socks5://, or unset it.",
            address=shown,
            variable=variable,
        )
    if not is_host(host) or (port and not (port.isdigit() and 0 < int(port[:6]) < 2**16)):
        raise NetworkSettingsError(
            '"{address}" in {variable} is no address of a proxy; give one such as http://proxy.example:8080, or '
            "unset it.",
            address=shown,
            variable=variable,
        )
    name, _, password = login.partition(":")
    return Proxy(
        scheme, host, int(port) if port else None, variable, (unquote(name), unquote(password)) if login else None
    )
