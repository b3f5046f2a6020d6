"""Why a connection did not come about, in a sentence, where that can be told: certificates, proxies, no TLS at all."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx

from ..core.errors import NetworkError

if TYPE_CHECKING:
    from .proxies import Proxy

# OpenSSL's numbers of what is wrong with a certificate
_NOT_YET, _EXPIRED = 9, 10
_ANOTHER_NAME = (62, 64)
# What a server that speaks no TLS looks like to one that does
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# What is told by one that wants to know who asks, and by one that speaks a TLS of long ago
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "HANDSHAKE_FAILURE")
_TOO_OLD = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_OF_ITS_TLS = (*_WANTS_CERTIFICATE, *_TOO_OLD)


class ProxyFailed(httpx.ConnectError):
    """The proxy was not reached, or does not let the request through: it has not left then."""

    def __init__(self, proxy: Proxy, reason: str, request: httpx.Request) -> None:
        super().__init__(reason, request=request)
        self.proxy = proxy


def is_lasting(error: BaseException) -> bool:
    """Whether another attempt would fail in the same way."""
    is_no_address = isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol))
    return is_no_address or certificate_error(error) is not None or _is_about_tls(error, *_NO_TLS, *_OF_ITS_TLS)


def explain(error: BaseException, host: str = "") -> NetworkError | None:
    """The error to raise for a connection that failed, with what to do; None where nothing can be told.

    `host` is what was asked, where the error does not know.
    """
    if isinstance(error, httpx.RequestError):
        with contextlib.suppress(RuntimeError):  # raised before there was one
            host = error.request.url.host
    if isinstance(error, ProxyFailed):
        return NetworkError(
            "{host} cannot be reached through the proxy {proxy} ({reason}), which {variable} names; correct it, "
            "or unset it.",
            host=host,
            proxy=error.proxy,
            reason=short(error),
            variable=error.proxy.variable,
        )
    if (wrong := certificate_error(error)) is not None:
        return _certificate(wrong, host)
    if _is_about_tls(error, *_NO_TLS):
        return NetworkError("{host} does not speak https at this address; try http://, or another port.", host=host)
    if _is_about_tls(error, *_WANTS_CERTIFICATE):
        return NetworkError(
            "{host} wants a certificate of whoever asks, or a TLS that this computer does not speak; ask whoever runs "
            "it for an address without.",
            host=host,
        )
    if _is_about_tls(error, *_TOO_OLD):
        return NetworkError(
            "{host} speaks a TLS that is not secure any more; ask whoever runs it to renew its software.", host=host
        )
    if isinstance(error, httpx.RemoteProtocolError) and "illegal status line" in str(error):
        return NetworkError("{host} does not speak http at this address; try https://, or another port.", host=host)
    return None


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """What is wrong with a certificate, where that is behind an error."""
    return next((one for one in _causes(error) if isinstance(one, ssl.SSLCertVerificationError)), None)


def short(error: BaseException) -> str:
    """An error's own words, for brackets."""
    text = re.sub(r"\[(Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)", "", " ".join(str(error).split()))[:120].rstrip(".")
    return text or type(error).__name__


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> NetworkError:
    code = getattr(error, "verify_code", 0)
    if code in _ANOTHER_NAME or "Hostname mismatch" in str(error):
        return NetworkError(
            "The certificate that {host} shows is for another name, so that somebody else may be answering there; "
            "check the address, or ask whoever runs it.",
            host=host,
        )
    if code == _EXPIRED:
        return NetworkError(
            "The certificate that {host} shows has expired; check this computer's clock, or ask whoever runs it "
            "to renew it.",
            host=host,
        )
    if code == _NOT_YET:
        return NetworkError(
            "The certificate that {host} shows is not valid yet; check this computer's clock.", host=host
        )
    return NetworkError(
        "The certificate of {host} is not trusted here, as behind a company's proxy; name its certificate file in "
        "the variable SSL_CERT_FILE.",
        host=host,
    )


def _is_about_tls(error: BaseException, *reasons: str) -> bool:
    """Whether one of OpenSSL's reasons is behind an error; they stand within longer names in some of its versions."""
    said = [str(one.reason) for one in _causes(error) if isinstance(one, ssl.SSLError)]
    return any(reason in each for reason in reasons for each in said)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
