"""Web addresses that come in with tasks, and where they may not lead.

A picture's URL, a webhook and an upload address make this machine send a request somewhere. Where
others can ask the service, these requests must not reach what only this machine can: its own ports,
its private network, the metadata address of a cloud.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from ...core.messages import message
from ...transfer.client import Way
from ..protocol import RequestError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(RequestError):
    """An address that leads where tasks may not; `field` is the one it was given in."""

    def __init__(self, host: str, field: str) -> None:
        super().__init__(
            "forbiddenAddress",
            message(
                "{parameter}: {host} is this machine or in a private network, where this service sends "
                "nothing; give a public address, or start the service with --allow-private-addresses.",
                parameter=field,
                host=host[:100],
            ),
            parameter=field,
        )


@dataclass(frozen=True)
class AddressPolicy:
    """Where requests may go. `allows` says it of a numeric address; None lets them go anywhere."""

    allows: Callable[[str], bool] | None = None

    def check(self, url: str, field: str) -> None:
        """`AddressRefused` when the address in `field` leads where it may not.

        A name that cannot be resolved passes: that is news for whoever asks for it later.
        """
        if self.allows is not None:
            parts = urlsplit(url)
            with contextlib.suppress(OSError, ValueError):
                _resolve(parts.hostname or "", parts.port or 0, self.allows, field)

    def transport(self, field: str) -> httpx.BaseTransport | None:
        """What sends the requests for the address in `field`; None stands for httpx's own."""
        return None if self.allows is None else _Guarded(self.allows, field)


def is_public(address: str) -> bool:
    """Whether this numeric address is one of the public network, also where one is wrapped in another."""
    try:
        found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


class _Guarded(httpx.BaseTransport):
    """Resolves each name itself, checks every address and connects to one of those that it checked.

    A client calls its transport anew for each redirect, and the name is not resolved a second time
    between check and connection. Raises `AddressRefused`.
    """

    def __init__(self, allows: Callable[[str], bool], field: str) -> None:
        self._allows = allows
        self._field = field
        # Nothing is kept open: a connection made for one name must not serve another name of that machine.
        self._inner = Way(limits=httpx.Limits(max_keepalive_connections=0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        try:
            addresses = _resolve(host, request.url.port or 0, self._allows, self._field)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"{host} cannot be resolved", request=request) from error
        for address in addresses:
            # The Host header and the certificate's name stay those of the address that was asked for.
            numeric = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return self._inner.handle_request(numeric)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise httpx.ConnectError(f"{host} has no address", request=request)

    def close(self) -> None:
        self._inner.close()


def _resolve(host: str, port: int, allows: Callable[[str], bool], field: str) -> list[str]:
    """The numeric addresses of a name; `AddressRefused` when one of them is not allowed."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(map(allows, addresses)):
        raise AddressRefused(host, field)
    return addresses
