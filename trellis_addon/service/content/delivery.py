"""News to the outside: webhooks, and finished files sent to an address of the client's.

Each delivery has a thread of its own and a few attempts. That it fails is logged and nothing else:
the result is there all the same, under its own address. `done` is called when it has succeeded or is
given up; not when the service ends before that.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...core.errors import NetworkSettingsError
from ...core.messages import message
from ..protocol import JsonObject, encode
from .addresses import AddressPolicy

log = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_WAIT = 0.25  # seconds, doubled after each failure
WEBHOOK_TIMEOUT = 5.0
UPLOAD_TIMEOUT = 60.0


class Delivery:
    """Sends in the background until `close`."""

    def __init__(self, first_wait: float = FIRST_WAIT, policy: AddressPolicy | None = None) -> None:
        self._first_wait = first_wait
        self._policy = policy or AddressPolicy()
        self._closing = threading.Event()

    def post_item(self, url: str, item: JsonObject, done: Callable[[], None] = lambda: None) -> None:
        """POST the item itself, with no `data` around it."""
        body = encode(item)
        self._start("webhookURL", done, "POST", url, body, "application/json", WEBHOOK_TIMEOUT)

    def put_file(self, url: str, path: Path, done: Callable[[], None] = lambda: None) -> None:
        """PUT the file's bytes as they are."""
        try:
            data = path.read_bytes()  # now: the file may expire before the last attempt
        except OSError:
            log.error("uploadEndpoint: given up; the file is gone.")
            done()
            return
        self._start("uploadEndpoint", done, "PUT", url, data, "model/gltf-binary", UPLOAD_TIMEOUT)

    def close(self) -> None:
        self._closing.set()

    def _start(self, field: str, *more: Any) -> None:
        context = contextvars.copy_context()  # so that the log knows whose it is
        attempt = partial(context.run, self._attempt, field, *more)
        threading.Thread(target=attempt, name=f"trellis-{field}", daemon=True).start()

    def _attempt(self, field: str, done: Callable[[], None], *request: Any) -> None:
        wait = self._first_wait
        for attempt in range(1, ATTEMPTS + 1):
            problem = self._send(field, *request)
            if not problem:
                break
            # Never the address: it may carry a key.
            log.warning("%s: attempt %d of %d failed: %s", field, attempt, ATTEMPTS, problem)
            if attempt == ATTEMPTS:
                log.error("%s: given up; the result can still be fetched from its URL.", field)
            elif self._closing.wait(wait):
                return
            wait *= 2
        if not self._closing.is_set():
            done()

    def _send(self, field: str, method: str, url: str, body: bytes, content_type: str, timeout: float) -> str:
        """Send once; what went wrong, or an empty text. Redirects are not followed."""
        from ...transfer.client import make_client

        transport = self._policy.transport(field)
        try:
            with make_client(transport=transport, timeout=timeout, follow_redirects=False) as client:
                response = client.request(method, url, content=body, headers={"Content-Type": content_type})
        except NetworkSettingsError as error:
            return str(error)
        except Exception as error:  # httpx raises more than HTTPError for odd addresses
            return type(error).__name__
        return (
            ""
            if response.is_success
            else message("the receiver answers {status_code}", status_code=response.status_code)
        )
