"""Addresses as people write them, of the web and of files: whose they are, how one is completed, what may be shown."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from urllib.parse import unquote, urlsplit

Number = ipaddress.IPv4Address | ipaddress.IPv6Address

_AROUND = " \t\r\n\xa0\u200b\ufeff\"'<>"  # what comes along when an address is copied
_BLANK = re.compile(r"[\x00-\x20\x7f-\xa0\u2000-\u200b\ufeff]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", re.IGNORECASE)
_PLACE = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?")
_KNOCK = 0.5  # seconds for a connection within this machine
# Where a service listens that listens everywhere; who asks it from this machine asks it here.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine, which no name server is asked: `localhost`, 127.0.0.0/8, ::1, also mapped."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    number = as_number(name)
    if number is None:
        return name == "localhost"
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return (mapped or number).is_loopback


def is_near(host: str) -> bool:
    """Whether a host is another machine in this one's own network: a private number, or a name without a domain."""
    if is_this_machine(host):
        return False
    number = as_number(host)
    if number is None:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith((".local", ".lan", ".home.arpa", ".internal"))
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return (mapped or number).is_private or number.is_link_local


def as_number(host: str) -> Number | None:
    """The IP address that a host is, also one in the short forms that systems take (127.1); None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    if re.fullmatch(r"[0-9][0-9a-fx.]*", host, re.IGNORECASE):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            pass
    return None


def is_web_address(text: str) -> bool:
    """Whether it is an http or https address that a request can be sent to."""
    if _BLANK.search(text) or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        is_place = _PLACE.fullmatch(parts.netloc.rpartition("@")[2]) is not None
        return parts.scheme in ("http", "https") and parts.port != 0 and is_place and is_host(parts.hostname or "")
    except ValueError:
        return False


def is_host(name: str) -> bool:
    """Whether a name could be a host's; one that ends in a number has to be an IP address."""
    if as_number(name) is not None:
        return True
    try:
        ascii_name = name.encode("idna").decode("ascii")
    except UnicodeError:  # an empty label, or one that is too long
        return False
    last = ascii_name.rstrip(".").rpartition(".")[2]
    return len(ascii_name) < 254 and _HOST.fullmatch(ascii_name) is not None and not last.isdigit()


def complete(text: str) -> str:
    """An address as it is meant: without what stands around it, its scheme and host in small letters, and `http://`
    before one that has no scheme. What cannot be one comes back as it is.
    """
    text = text.strip(_AROUND)
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text.lstrip("/")
    rest = rest.strip(_AROUND)
    place, slash, path = rest.partition("/")
    login, at, place = place.rpartition("@")
    address = f"{scheme.lower()}://{login}{at}{_complete_place(place)}{slash}{path}"
    return address if is_web_address(address) else text


def _complete_place(place: str) -> str:
    host, port = split_place(place)
    number = as_number(host)
    zone = host.partition("%")[2].removeprefix("25") if ":" in host else ""  # the link that an fe80::1 is on
    host = f"{number}%{zone}" if zone else str(number) if number is not None else host.lower()
    host = _EVERYWHERE.get(host, host)
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def split_place(place: str) -> tuple[str, str]:
    """(host, port as text) of `host`, `host:port`, `[::1]:port` or a bare IPv6 address."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest.removeprefix(":")
    if place.count(":") > 1:
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def has_login(address: str) -> bool:
    """Whether a name, or a password, stands before the host."""
    return "@" in re.split(r"[/?#]", address.partition("://")[2] or address, maxsplit=1)[0]


def without_login(address: str) -> str:
    """The address as it may be shown and written down: no name and password before its host."""
    return re.sub(r"(?<=//)[^/?#\s]*@", "", address)


def is_file_address(text: str) -> bool:
    """Whether it is the address of a file, such as file:///home/a%20b.png."""
    return text[:5].lower() == "file:" and text[5:6] in ("/", "\\")


def path_of_address(address: str, *, on_windows: bool = os.name == "nt") -> str:
    """The path that a file: address names (RFC 8089), decoded once; of another machine's it is //machine/share/...

    Programs of the desktop put this machine's own name into addresses, too.
    """
    path = address[len("file:") :].replace("\\", "/")
    host = ""
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        path = slash + rest
        if re.fullmatch(r"[A-Za-z][:|]", host):  # with a slash too few
            host, path = "", f"/{host}{path}"
    path = unquote(path, errors="surrogateescape")  # as the system itself gives names that are no UTF-8
    share = "" if host.lower() in ("", "localhost", socket.gethostname().lower()) else f"//{host}"
    if not on_windows:
        return share + path
    if not share and re.match(r"/+[A-Za-z][:|]", path):  # /C:/..., or as it once was written, /C|/...
        path = path.lstrip("/")
        path = path[0] + ":" + path[2:]
    return (share + path).replace("/", "\\")


def by_number(address: str) -> str:
    """`http://localhost:8000` by the number that somebody listens at, 127.0.0.1 before ::1; any other as it is.

    Windows tries ::1 first, for about two seconds with every connection, and our service listens at 127.0.0.1.
    """
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname != "localhost":  # a certificate is one for the name
        return address
    for host in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((host, parts.port or 80), _KNOCK).close()
        except OSError:
            continue
        shown = f"[{host}]" if ":" in host else host
        return parts._replace(netloc=parts.netloc.lower().replace("localhost", shown)).geturl()
    return address
