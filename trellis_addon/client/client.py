"""A client of the task protocol: submit, poll, download. It knows nothing of files' or jobs' lives."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ..errors import BackendError, DamagedFileError, NetworkError
from ..glb.check import check_glb_file
from ..progress import Progress
from ..task import Result, Task, new_uuid
from .replies import Reply, error_from, first_error, read_reply

log = logging.getLogger(__name__)

ATTEMPTS = 5
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
# The file servers answer 422 (not there yet) or 502 for some seconds after a success.
RETRIED_DOWNLOAD_STATUS = RETRIED_STATUS | {404, 422}
MAX_GLB_BYTES = 2**30


class Client:
    """Speaks to one service at `url` (".../v1") with `token`; close it after use.

    `transport` and `sleep` are handed in by tests.
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
        options: dict[str, Any] = {"transport": transport, "trust_env": remote}
        self._api = httpx.Client(timeout=httpx.Timeout(60.0, connect=15.0), **options)
        # Files lie on other hosts: a connection of its own, which never carries the token.
        self._files = httpx.Client(timeout=httpx.Timeout(60.0, connect=15.0), follow_redirects=True, **options)

    def close(self) -> None:
        self._api.close()
        self._files.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def submit(self, task: Task, progress: Progress | None = None) -> Reply:
        """Send a task. Raises an error of the tree when it is refused: then nothing was created or paid.

        The taskUUID makes repeating safe: where the answer got lost, the task is sent again, and
        the answer that it is there already means that it was accepted the first time.
        """
        status, body = self._post([task.to_request()], progress or Progress(), attempts=ATTEMPTS)
        reply = read_reply(body, task.uuid)
        conflict = any("conflict" in str(e.get("code", "")).lower() for e in reply.errors)
        if conflict:
            return Reply(known=True)
        if status >= 400 or (reply.errors and not reply.results):
            raise error_from(reply.errors[0], status) if reply.errors else first_error(body, status)
        return reply

    def poll(self, task_uuid: str, progress: Progress | None = None) -> Reply:
        """What is known of a task by now; results are cumulative."""
        request = {"taskType": "getResponse", "taskUUID": task_uuid}
        status, body = self._post([request], progress or Progress(), attempts=ATTEMPTS)
        reply = read_reply(body, task_uuid)
        if status >= 400 and not reply.errors:
            raise first_error(body, status)
        return reply

    def cancel(self, task_uuid: str) -> None:
        """Stop a task, where the service can (ours can, the remote API cannot)."""
        if not self.remote:
            try:
                self._post([{"taskType": "cancelTask", "taskUUID": task_uuid}], Progress(), attempts=1)
            except BackendError as error:
                log.info("The service did not take the cancelling: %s", error)

    def ping(self) -> None:
        """Raise an error of the tree unless the service answers and accepts the token."""
        status, body = self._post([{"taskType": "ping", "taskUUID": new_uuid(), "ping": True}], Progress(), attempts=2)
        if status in (401, 403):
            raise first_error(body, status)

    def download(self, result: Result, path: Path, progress: Progress | None = None) -> Path:
        """Fetch a result's GLB to `path`, whole and checked or not at all.

        Raises `NetworkError` when it cannot be had, `DamagedFileError` when what came is no sound GLB.
        """
        progress = progress or Progress()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            for attempt in range(ATTEMPTS):
                try:
                    self._fetch(result.url, part, progress)
                    check_glb_file(part)
                    os.replace(part, path)
                    return path
                except (NetworkError, DamagedFileError) as error:
                    if attempt == ATTEMPTS - 1 or getattr(error, "code", "") == "fileNotAvailable":
                        raise
                    self._wait(attempt, progress)
        finally:
            part.unlink(missing_ok=True)
        raise AssertionError("unreachable")

    def _fetch(self, url: str, part: Path, progress: Progress) -> None:
        try:
            with self._files.stream("GET", url) as response:
                if response.status_code != 200:
                    final = response.status_code not in RETRIED_DOWNLOAD_STATUS
                    raise NetworkError(
                        f"The asset's file cannot be downloaded: its server answers {response.status_code}.",
                        code="fileNotAvailable" if final else "downloadFailed",
                    )
                total = int(response.headers.get("content-length") or 0)
                if total > MAX_GLB_BYTES:
                    raise NetworkError("The asset's file is larger than 1 GB.", code="fileNotAvailable")
                received = 0
                with part.open("wb") as file:
                    for chunk in response.iter_bytes(1 << 18):
                        file.write(chunk)
                        received += len(chunk)
                        if received > MAX_GLB_BYTES:
                            raise NetworkError("The asset's file is larger than 1 GB.", code="fileNotAvailable")
                        progress.update("Downloading", received / total if total else 0.0)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NetworkError(f"The download of the asset broke off ({type(error).__name__}).") from error

    def _post(self, tasks: list[dict[str, Any]], progress: Progress, attempts: int) -> tuple[int, Any]:
        """The status and the decoded body; transport faults and 5xx are retried, with growing waits."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        for attempt in range(attempts):
            progress.check()
            last = attempt == attempts - 1
            try:
                response = self._api.post(self.url, json=tasks, headers=headers)
                body = _json(response)
                if response.status_code not in RETRIED_STATUS and isinstance(body, (Mapping, list)):
                    return response.status_code, body
                if last and isinstance(body, Mapping) and response.status_code >= 400:
                    raise first_error(body, response.status_code)
                problem = f"status {response.status_code}" if isinstance(body, Mapping) else "a reply that is not JSON"
                fault: Exception | None = None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem, fault = type(error).__name__, error
            if last:
                raise NetworkError(
                    f"The service at {self.url} cannot be reached ({problem}); check the address and the network."
                ) from fault
            log.info("Asking the service again: %s", problem)
            self._wait(attempt, progress)
        raise AssertionError("unreachable")

    def _wait(self, attempt: int, progress: Progress) -> None:
        """Wait 0.5 s, 1 s, 2 s, ... up to 10 s, give or take a quarter, watching for a cancel."""
        self.pause(min(0.5 * 2**attempt, 10.0) * random.uniform(0.75, 1.25), progress)

    def pause(self, seconds: float, progress: Progress) -> None:
        while seconds > 0:
            progress.check()
            self._sleep(min(seconds, 0.2))
            seconds -= 0.2


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
