"""The HTTP client of downloads: proxies of the environment, and every certificate that this machine trusts."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

import httpx

from ..core.errors import EngineError
from ..core.version import VERSION

# A reply may take long to begin; once it has begun, a line that is silent so long is dead.
TIMEOUT = httpx.Timeout(30.0, connect=15.0, pool=None)
CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=16)
# Where pip and others are told of a company's own certificates; `SSL_CERT_FILE` Python itself knows.
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")


def make_client(certificate: str = "", proxy: str = "") -> httpx.Client:
    """A client that follows redirects; raises `EngineError` where a variable names certificates that are not there.

    `certificate` is one more file of them, `proxy` an address that goes before those of the environment.
    """
    return httpx.Client(
        follow_redirects=True,
        timeout=TIMEOUT,
        limits=CONNECTIONS,
        verify=_trust(certificate),
        proxy=proxy or None,
        headers={"User-Agent": f"trellis2-blender/{VERSION}"},
    )


def _trust(certificate: str = "") -> ssl.SSLContext:
    """The system's certificates, those that came with httpx, and those that a variable names."""
    named = (("PIP_CERT", certificate), *((name, os.environ.get(name, "")) for name in CERTIFICATES))
    return _context(tuple((name, path) for name, path in named if path))


@functools.lru_cache(maxsize=4)  # a tenth of a second and a megabyte each
def _context(named: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(_bundled())
    for variable, path in named:
        try:
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError):
            raise EngineError(
                f"The variable {variable} names {path}, which is no file of certificates; correct it, or unset it."
            ) from None
    return context


def _bundled() -> str:
    import certifi

    return certifi.where()
