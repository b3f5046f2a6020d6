"""Short questions to a service of ours on this machine, outside of any job."""

from __future__ import annotations

import json
from typing import Any

import httpx

from ..service.handshake import SERVICE_NAME
from ..transfer.client import make_client

_BUSY = httpx.Timeout(10.0, connect=3.0)  # its threads are at work
_BRIEFLY = httpx.Timeout(2.0)


def ask_service(url: str, token: str) -> dict[str, Any] | None:
    """What it says of itself; empty where it is there and does not get to answer; None where nobody of ours is."""
    try:
        with make_client(proxies=False, timeout=_BUSY, follow_redirects=False) as client:
            response = client.get(url, headers=_headers(token))
    except httpx.ReadTimeout:
        return {}
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    try:
        told = response.json() if response.status_code == 200 else None
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("name") == SERVICE_NAME else None


def ask_to_stop(url: str, token: str) -> None:
    """Ask it to end, which takes it a moment; one that does not hear is not told of."""
    headers = {**_headers(token), "Content-Type": "application/json"}
    try:
        body = json.dumps([{"taskType": "stopService"}])
        with make_client(proxies=False, timeout=_BRIEFLY, follow_redirects=False) as client:
            client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
