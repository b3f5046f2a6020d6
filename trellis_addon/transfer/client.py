"""The one door to HTTP: every client of this project is made here, with this machine's proxies and its trust.

A request to this machine needs neither and is never touched by either, however wrong they are set, but for one to the
paid API, should that be told to be here; what goes over plain http looks at no certificates. What goes elsewhere and is
kept back by a setting ends as a `NetworkSettingsError`, which names it; nothing has left then.
"""

from __future__ import annotations

import functools
import logging
import ssl
import threading
from typing import Any

import httpcore
import httpx

from ..core.errors import TrellisError
from ..core.messages import message
from ..core.version import VERSION
from .failures import ProxyFailed, certificate_error
from .proxies import Proxies, Proxy
from .trust import trust

USER_AGENT = f"trellis2-blender/{VERSION}"
# A reply may take long to begin; once it has begun, a line that is silent so long is dead.
TIMEOUT = httpx.Timeout(30.0, connect=15.0, pool=None)
CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=16)
SOCKS_SECONDS = 15.0  # that a SOCKS proxy may take for one step of its greeting


def make_client(
    certificate: str = "",
    proxy: str = "",
    *,
    address: str = "",
    proxies: bool = True,
    to_the_letter: bool = False,
    timeout: httpx.Timeout | float = TIMEOUT,
    follow_redirects: bool = True,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client that names itself.

    `certificate` is one more file of certificates, and `proxy` an address that goes before the environment's, both by
    pip's settings. `address` is one that will be asked: where settings keep it back, `NetworkSettingsError` is raised
    now and not at the first request. Without `proxies` everything is asked directly; see `Proxies` for `to_the_letter`.
    `transport` replaces it all.
    """
    if transport is None:
        way = Way(
            Proxies(always=proxy, variable="PIP_PROXY", to_the_letter=to_the_letter) if proxies else None,
            certificate=certificate,
            limits=CONNECTIONS,
        )
        if address:
            way.prepare(httpx.URL(address))
        transport = way
    return httpx.Client(
        transport=transport,
        trust_env=False,
        timeout=timeout,
        follow_redirects=follow_redirects,
        headers={"User-Agent": USER_AGENT},
    )


class Way(httpx.BaseTransport):
    """Sends each request directly or through the proxy that its address needs; may be used by all threads."""

    def __init__(
        self, proxies: Proxies | None = None, *, certificate: str = "", limits: httpx.Limits = CONNECTIONS
    ) -> None:
        self._proxies = proxies
        self._certificate = certificate
        self._limits = limits
        self._lock = threading.Lock()
        self._transports: dict[tuple[Proxy | None, bool], httpx.HTTPTransport] = {}

    def prepare(self, url: httpx.URL) -> None:
        """Raise `NetworkSettingsError` where a request to this address would."""
        self._transport(self._proxy(url), url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._proxy(request.url)
        transport = self._transport(proxy, request.url)
        if proxy is None:
            return transport.handle_request(request)
        try:
            response = transport.handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if certificate_error(error) is not None and not (proxy.scheme == "https" and request.url.scheme == "http"):
                raise  # somebody else's than the proxy's
            raise ProxyFailed(proxy, _why_not(proxy, str(error)) or type(error).__name__, request) from error
        except (httpx.HTTPError, TrellisError):
            raise
        except Exception as error:  # what the SOCKS library makes of something that speaks no SOCKS
            raise ProxyFailed(proxy, message("it breaks off, or speaks no SOCKS5"), request) from error
        if response.status_code == 407:
            response.close()
            raise ProxyFailed(proxy, _why_not(proxy, "407"), request)
        return response

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    def _proxy(self, url: httpx.URL) -> Proxy | None:
        return self._proxies.proxy_for(url.scheme, url.host, url.port) if self._proxies is not None else None

    def _transport(self, proxy: Proxy | None, url: httpx.URL) -> httpx.HTTPTransport:
        is_secure = url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        with self._lock:
            key = (proxy, is_secure)
            if key not in self._transports:
                context = trust(self._certificate) if is_secure else _no_trust()
                self._transports[key] = _transport(proxy, context, self._limits)
            return self._transports[key]


def _why_not(proxy: Proxy, said: str) -> str:
    """What a proxy says, in words where it is about who asks."""
    if not said.startswith("407"):
        return said
    if proxy.login:
        return message("it does not take the name and the password")
    return message("it wants a name and a password")


def _transport(proxy: Proxy | None, context: ssl.SSLContext, limits: httpx.Limits) -> httpx.HTTPTransport:
    if proxy is None:
        return httpx.HTTPTransport(verify=context, trust_env=False, limits=limits)
    address = httpx.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port)
    named = httpx.Proxy(address, auth=proxy.login, ssl_context=context if proxy.scheme == "https" else None)
    transport = httpx.HTTPTransport(verify=context, trust_env=False, limits=limits, proxy=named)
    if proxy.scheme.startswith("socks"):
        logging.getLogger("httpcore.socks").setLevel(logging.INFO)  # below that it tells the proxy's password
        # httpx has no other way to hand one in
        transport._pool._network_backend = _PatientBackend()
    return transport


@functools.cache
def _no_trust() -> ssl.SSLContext:
    """For plain http, where none is used; it trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _PatientBackend(httpcore.SyncBackend):
    """Connections on which a SOCKS proxy that says nothing is given up: the library would wait for it for ever."""

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return _PatientStream(super().connect_tcp(*arguments, **options))


class _PatientStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout is not None:
            return self._stream.read(max_bytes, timeout)
        try:  # only the greeting is read without one
            return self._stream.read(max_bytes, SOCKS_SECONDS)
        except httpcore.ReadTimeout as error:
            raise httpcore.ConnectTimeout(message("it does not answer")) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
