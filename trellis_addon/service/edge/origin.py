"""The address that a client knows this service by: for the addresses of files in its answers."""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection

from ...core.addresses import is_this_machine

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def public_address(connection: HTTPConnection) -> str:
    """Scheme and host, such as "https://gpu-box.example".

    A reverse proxy on this machine says by X-Forwarded-Proto and X-Forwarded-Host what it was asked for; from anywhere
    else these are not believed.
    """
    scheme = "https" if connection.url.scheme in ("https", "wss") else "http"
    host = connection.headers.get("host") or connection.url.netloc
    if connection.client is not None and is_this_machine(connection.client.host):
        told = connection.headers.get("x-forwarded-proto", "").strip().lower()
        scheme = told if told in ("http", "https") else scheme
        name = connection.headers.get("x-forwarded-host", "").strip()
        host = name if _HOST.fullmatch(name) else host
    return f"{scheme}://{host}"
