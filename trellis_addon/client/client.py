"""A client of the task protocol: submit, poll, download. It knows nothing of files' or jobs' lives."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ..errors import BackendError, BusyError, NetworkError, ServiceError, TimedOutError
from ..progress import Progress
from ..task import Result, Task, new_uuid
from .download import download
from .replies import Reply, error_from, first_error, read_details, read_reply, requested_settings

log = logging.getLogger(__name__)

ATTEMPTS = 5
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 30.0  # seconds, even where a Retry-After asks for more
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
SYNC_TIMEOUT = httpx.Timeout(20 * 60.0, connect=15.0)  # the reply comes when the asset is made


@dataclass(frozen=True)
class Account:
    """What the service says of the account: `balance` None where it does not say."""

    balance: float | None
    currency: str = "USD"


class Client:
    """Speaks to one service at `url` (".../v1") with `token`; close it after use.

    `remote` says that it is a paid one. `transport` and `sleep` are handed in by tests.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        remote: bool = True,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.remote = remote
        self._token = token
        self._sleep = sleep
        # A proxy must not come between the add-on and its own service on this machine.
        options: dict[str, Any] = {"transport": transport, "trust_env": remote, "timeout": TIMEOUT}
        self._api = httpx.Client(**options)
        # Files lie on other hosts: a connection of its own, which never carries the token.
        self._files = httpx.Client(follow_redirects=True, **options)

    def close(self) -> None:
        self._api.close()
        self._files.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def submit(self, task: Task, progress: Progress | None = None) -> Reply:
        """Send a task. Raises an error of the tree when it is refused: then nothing was created or paid.

        After a `NetworkError`, `ServiceError` or `BusyError` nobody knows. The taskUUID makes it safe to
        send the same task again: the answer that it is there already means that it was accepted before.
        """
        timeout = SYNC_TIMEOUT if task.settings.get("delivery_method") == "sync" else TIMEOUT
        status, body = self._post([task.to_request()], progress, timeout=timeout)
        reply = read_reply(body, task.uuid)
        if any("conflict" in str(e.get("code", "")).lower() for e in reply.errors):
            return Reply(known=True)
        if status >= 400 or (reply.errors and not reply.results):
            raise error_from(reply.errors[0], status) if reply.errors else first_error(body, status)
        return reply

    def poll(self, task_uuid: str, progress: Progress | None = None) -> Reply:
        """What is known of a task by now; results are cumulative."""
        status, body = self._post([{"taskType": "getResponse", "taskUUID": task_uuid}], progress)
        reply = read_reply(body, task_uuid)
        if status >= 400:
            raise error_from(reply.errors[0], status) if reply.errors else first_error(body, status)
        return reply

    def details(self, task_uuid: str, progress: Progress | None = None) -> tuple[Reply | None, Mapping[str, Any]]:
        """(what has come of the task, its request), whatever its age: (None, {}) when it is not known at all."""
        status, body = self._post([{"taskType": "getTaskDetails", "taskUUID": task_uuid}], progress)
        if status in (401, 402, 403):
            raise first_error(body, status)
        return read_details(body, task_uuid), requested_settings(body, task_uuid)

    def cancel(self, task_uuid: str) -> None:
        """Stop a task, where the service can (ours can, the remote API cannot)."""
        if not self.remote:
            try:
                self._post([{"taskType": "cancelTask", "taskUUID": task_uuid}], attempts=1)
            except BackendError as error:
                log.info("The service did not take the cancelling: %s", error)

    def upload(self, data_uri: str, progress: Progress | None = None) -> str:
        """Give the service a picture; returns the UUID that tasks can name it by."""
        task_uuid = new_uuid()
        task = {"taskType": "mediaStorage", "taskUUID": task_uuid, "operation": "upload", "media": data_uri}
        status, body = self._post([task], progress)
        for item in read_items(body, task_uuid):
            if uuid := item.get("mediaUUID") or item.get("imageUUID"):
                return str(uuid)
        raise first_error(body, status)

    def price(self, task: Task) -> float | None:
        """What the task would cost in US dollars, by a dry run; None where the service does not say.

        Should a service not know of dry runs and begin the task, then under its own taskUUID: sending
        the task afterwards does not pay twice.
        """
        status, body = self._post([task.to_request()], attempts=1, headers={"X-Runware-Dry-Run": "1"})
        if status >= 400:
            raise first_error(body, status)
        costs = [item["cost"] for item in read_items(body, task.uuid) if isinstance(item.get("cost"), (int, float))]
        return float(costs[0]) if costs else None

    def ping(self) -> None:
        """Raise an error of the tree unless the service answers and accepts the token."""
        status, body = self._post([{"taskType": "ping", "taskUUID": new_uuid(), "ping": True}], attempts=2)
        if status >= 400:
            raise first_error(body, status)

    def account(self) -> Account:
        """The account's balance; raises `ApiKeyError` for a key that is not accepted."""
        task_uuid = new_uuid()
        task = {"taskType": "accountManagement", "taskUUID": task_uuid, "operation": "getDetails"}
        status, body = self._post([task], attempts=2)
        for item in read_items(body, task_uuid):
            balance = item.get("balance")
            if isinstance(balance, Mapping):
                amount = balance.get("amount")
                return Account(_number(amount), str(balance.get("currency") or "USD"))
            return Account(_number(balance))
        raise first_error(body, status)

    def download(self, result: Result, path: Path, progress: Progress | None = None) -> Path:
        """Fetch a result's GLB to `path`, whole and checked or not at all; see `download.download`."""
        return download(self._files, result.url, path, progress or Progress(), self.wait)

    def wait(self, attempt: int, progress: Progress, at_least: float = 0.0) -> None:
        """Wait 0.5 s, 1 s, 2 s, ... up to 10 s, give or take a quarter, watching for a cancel."""
        self.pause(max(min(0.5 * 2**attempt, 10.0) * random.uniform(0.75, 1.25), at_least), progress)

    def pause(self, seconds: float, progress: Progress) -> None:
        while seconds > 0:
            progress.check()
            self._sleep(min(seconds, 0.2))
            seconds -= 0.2

    def _post(
        self,
        tasks: list[dict[str, Any]],
        progress: Progress | None = None,
        *,
        attempts: int = ATTEMPTS,
        timeout: httpx.Timeout = TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the decoded body; faults of the connection, 429 and 5xx are retried with growing waits."""
        progress = progress or Progress()
        all_headers = {**(headers or {}), **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        fault: BackendError | None = None
        for attempt in range(attempts):
            progress.check()
            at_least = 0.0
            try:
                response = self._api.post(self.url, json=tasks, headers=all_headers, timeout=timeout)
                body = _json(response)
                if response.status_code not in RETRIED_STATUS and body is not None:
                    return response.status_code, body
                fault = self._fault(response, body)
                at_least = _retry_after(response)
            except httpx.TimeoutException as error:
                fault = TimedOutError(f"The service at {self.url} does not answer in time; check the network.")
                fault.__cause__ = error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                fault = NetworkError(
                    f"The service at {self.url} cannot be reached ({type(error).__name__}); "
                    "check the address and the network."
                )
                fault.__cause__ = error
            if attempt < attempts - 1:
                log.info("Asking the service again: %s", fault)
                self.wait(attempt, progress, at_least)
        assert fault is not None
        raise fault

    def _fault(self, response: httpx.Response, body: Any) -> BackendError:
        """The error for a reply that is worth another try."""
        if isinstance(body, Mapping):
            error = first_error(body, response.status_code)
            # Such a status is the service's state, whatever the code in its body is called.
            return error if isinstance(error, (BusyError, ServiceError)) else ServiceError(str(error), raw=body)
        if response.status_code == 429:
            return BusyError("The service is busy: too many requests. Try again in a minute.")
        kind = ServiceError if response.status_code >= 400 else NetworkError
        return kind(
            f"The service at {self.url} answers with status {response.status_code} and no JSON; "
            "check the address, or try again later."
        )


def read_items(body: Any, task_uuid: str) -> list[Mapping[str, Any]]:
    """The items of `data` that are this task's, whether `data` is a list or an object."""
    data = body.get("data") if isinstance(body, Mapping) else None
    items = data if isinstance(data, list) else [data]
    return [i for i in items if isinstance(i, Mapping) and i.get("taskUUID") in (None, "", task_uuid)]


def _json(response: httpx.Response) -> Any:
    """The reply's JSON, or None where it is none that the protocol could have."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0)), 0.0), LONGEST_WAIT)
    except ValueError:
        return 0.0


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
