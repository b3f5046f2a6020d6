"""News to the outside: webhooks, and finished files sent to an address of the client's.

Each delivery has a thread of its own and a few attempts. That it fails is logged and nothing else:
the result is there all the same, under its own address.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from .protocol import JsonObject, encode

log = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_WAIT = 0.25  # seconds, doubled after each failure
WEBHOOK_TIMEOUT = 5.0
UPLOAD_TIMEOUT = 60.0


class Delivery:
    """Sends in the background until `close`."""

    def __init__(self, first_wait: float = FIRST_WAIT) -> None:
        self._first_wait = first_wait
        self._closing = threading.Event()

    def post_item(self, url: str, item: JsonObject) -> None:
        """POST the item itself, with no `data` around it."""
        body = encode(item)
        self._start("webhook", lambda: _send("POST", url, body, "application/json", WEBHOOK_TIMEOUT))

    def put_file(self, url: str, path: Path) -> None:
        """PUT the file's bytes as they are."""
        data = path.read_bytes()  # now: the file may expire before the last attempt
        self._start("uploadEndpoint", lambda: _send("PUT", url, data, "model/gltf-binary", UPLOAD_TIMEOUT))

    def close(self) -> None:
        self._closing.set()

    def _start(self, what: str, send: Callable[[], str]) -> None:
        threading.Thread(target=self._attempt, args=(what, send), name=f"trellis-{what}", daemon=True).start()

    def _attempt(self, what: str, send: Callable[[], str]) -> None:
        wait = self._first_wait
        for attempt in range(1, ATTEMPTS + 1):
            problem = send()
            if not problem:
                return
            # Never the address: it may carry a key.
            log.warning("%s: attempt %d of %d failed: %s", what, attempt, ATTEMPTS, problem)
            if attempt < ATTEMPTS and self._closing.wait(wait):
                return
            wait *= 2
        log.error("%s: given up; the result can still be fetched from its URL.", what)


def _send(method: str, url: str, body: bytes, content_type: str, timeout: float) -> str:
    """Send once; what went wrong, or an empty text."""
    import httpx

    try:
        response = httpx.request(method, url, content=body, headers={"Content-Type": content_type}, timeout=timeout)
    except Exception as error:  # httpx raises more than HTTPError for odd addresses
        return type(error).__name__
    return "" if response.is_success else f"the receiver answers {response.status_code}"
