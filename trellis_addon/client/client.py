"""A client of the task protocol: submit, poll, download. It knows nothing of files' or jobs' lives."""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..core.addresses import is_near
from ..core.errors import (
    AccessError,
    ApiKeyError,
    BackendError,
    BalanceError,
    BusyError,
    DamagedFileError,
    LatentsError,
    NetworkError,
    RefusedError,
    ServiceError,
    TimedOutError,
    TrellisError,
)
from ..core.messages import message
from ..core.progress import Progress
from ..service.handshake import CLIENT_HEADER, PRIORITY_HEADER
from ..service.people.caller import BATCH
from ..task.task import Result, Task, check_published, new_uuid
from ..transfer.client import make_client
from ..transfer.failures import explain, is_lasting, short
from ..transfer.line import Line, LineReply
from .download import download
from .replies import (
    Reply,
    as_cost,
    as_number,
    error_from,
    first_error,
    is_of_service,
    is_unknown_task,
    read_details,
    read_reply,
    requested_settings,
)

log = logging.getLogger(__name__)

ATTEMPTS = 5
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 30.0  # seconds, even where a Retry-After asks for more
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
SYNC_TIMEOUT = httpx.Timeout(20 * 60.0, connect=15.0)  # the reply comes when the asset is made
DRIP_LIMIT = 60.0  # seconds that a reply's body may take once it has begun
CANCEL_TIMEOUT = httpx.Timeout(1.0)  # who cancels does not wait; a busy service hears of it all the same, later
REPLY_LIMIT = 64 * 2**20  # bytes
FINDS = 30  # times that one request may find its service started anew
_PROGRAM = secrets.token_hex(8)  # this one, among those that take turns at a service of ours
LATENTS_ATTEMPTS = 3  # an asset does without them

Find = Callable[[Progress], tuple[str, str]]  # the address and the token, as they are now


@dataclass(frozen=True)
class Answer:
    """A reply's status and decoded body. `is_repeated`: an attempt before it may have arrived as well."""

    status: int
    body: Any
    is_repeated: bool = False


@dataclass(frozen=True)
class Account:
    """What the service says of the account: `balance` None where it does not say."""

    balance: float | None
    currency: str = "USD"

    def __str__(self) -> str:
        return message("not told") if self.balance is None else f"{self.balance:.2f} {self.currency}"


class Client:
    """Speaks to one service at `url` (".../v1") with `token`; close it after use.

    `remote` says that it is a paid one. `find`, where there is one, is asked for its address and token whenever it
    cannot be reached: it blocks until it is there again, or raises. `can_wait`: at a service of our own these tasks
    wait until nobody waits for a single one. `transport` and `sleep` are handed in by tests.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        remote: bool = True,
        find: Find | None = None,
        can_wait: bool = False,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not all(" " < letter <= "~" for letter in token):
            # Otherwise the error that says so further down would quote it.
            raise ApiKeyError("The API key has characters in it that no key has; copy it again, and only the key.")
        self.url = url
        self.remote = remote
        self._token = token
        self._find = find
        self._own_headers = {CLIENT_HEADER: _PROGRAM, **({PRIORITY_HEADER: BATCH} if can_wait else {})}
        self._former: set[str] = set()  # addresses that it had before
        self._sleep = sleep
        # A proxy must not come between the add-on and a service of the user's own. What is paid goes round none, not
        # even to this machine.
        proxies = {"proxies": remote, "to_the_letter": remote}
        options: dict[str, Any] = {"transport": transport, "timeout": TIMEOUT, **proxies}
        self._api = make_client(address=url, follow_redirects=False, **options)
        # Files lie on other hosts: a connection of its own, which never carries the token.
        self._files = make_client(**options)

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
        if self.remote:
            check_published(task)
        timeout = SYNC_TIMEOUT if task.settings.get("delivery_method") == "sync" else TIMEOUT
        answer = self._post([task.to_request()], progress, timeout=timeout)
        reply = read_reply(answer.body, task.uuid)
        if any("conflict" in str(e.get("code", "")).lower() for e in reply.errors):
            return Reply(known=True)
        if reply.results or reply.pending or not (reply.errors or answer.status >= 400):
            return reply
        refusal = _error_of(reply, answer)
        if not answer.is_repeated:
            raise refusal
        return self._accepted_before(task, refusal, progress)

    def _accepted_before(self, task: Task, refusal: TrellisError, progress: Progress | None) -> Reply:
        """A refusal says nothing of an earlier attempt whose answer got lost: what the service knows does."""
        try:
            reply = self.poll(task.uuid, progress)
            if not reply.known:
                reply = self.details(task.uuid, progress)[0] or reply
        except TrellisError as error:
            error.unsent = False  # the question may be; the task is not
            raise
        if reply.known:
            return reply
        if isinstance(refusal, (ApiKeyError, AccessError, BalanceError)):
            # These are found out before the task itself is looked at, whether it is there or not.
            raise NetworkError(
                "The answer to the task got lost, and another attempt was refused. {reason}", reason=refusal
            )
        raise refusal

    def poll(self, task_uuid: str, progress: Progress | None = None) -> Reply:
        """What is known of a task by now; results are cumulative."""
        answer = self._post([{"taskType": "getResponse", "taskUUID": task_uuid}], progress)
        reply = read_reply(answer.body, task_uuid)
        if reply.results or reply.pending:
            return reply
        if reply.errors and all(map(is_unknown_task, reply.errors)):
            return Reply()
        if answer.status >= 400:
            error = _error_of(reply, answer)
            if not reply.errors and type(error) is RefusedError:
                # Not a word about the task, which may be paid: it is somebody on the way who says no.
                raise ServiceError(error.message, raw=answer.body)
            raise error
        return reply

    def details(self, task_uuid: str, progress: Progress | None = None) -> tuple[Reply | None, Mapping[str, Any]]:
        """(what has come of the task, its request), whatever its age: (None, {}) when it is not known at all."""
        answer = self._post([{"taskType": "getTaskDetails", "taskUUID": task_uuid}], progress)
        if answer.status in (401, 402, 403):
            raise first_error(answer.body, answer.status)
        return read_details(answer.body, task_uuid), requested_settings(answer.body, task_uuid)

    def cancel(self, task_uuid: str) -> None:
        """Stop a task, where the service can (ours can, the remote API cannot)."""
        if not self.remote:
            task = {"taskType": "cancelTask", "taskUUID": task_uuid}
            try:
                self._exchange(Line(self._api), [task], {}, CANCEL_TIMEOUT, Progress())
            except (BackendError, httpx.HTTPError, httpx.InvalidURL) as error:
                log.info("The service did not take the cancelling: %s", type(error).__name__)

    def upload(self, data_uri: str, progress: Progress | None = None) -> str:
        """Give the service a picture; returns the UUID that tasks can name it by."""
        task_uuid = new_uuid()
        task = {"taskType": "mediaStorage", "taskUUID": task_uuid, "operation": "upload", "media": data_uri}
        answer = self._post([task], progress)
        for item in read_items(answer.body, task_uuid):
            if uuid := item.get("mediaUUID") or item.get("imageUUID"):
                return str(uuid)
        raise first_error(answer.body, answer.status)

    def price(self, task: Task) -> float | None:
        """What the task would cost in US dollars, by a dry run; None where the service does not say.

        Should a service not know of dry runs and begin the task, then under its own taskUUID: sending
        the task afterwards does not pay twice.
        """
        if self.remote:
            check_published(task)
        answer = self._post([task.to_request()], attempts=1, headers={"X-Runware-Dry-Run": "1"})
        reply = read_reply(answer.body, task.uuid)
        if answer.status >= 400 or reply.errors:
            raise _error_of(reply, answer)
        costs = [as_cost(item.get("cost")) for item in read_items(answer.body, task.uuid)]
        return next((cost for cost in costs if cost is not None), None)

    def ping(self) -> None:
        """Raise an error of the tree unless the service answers and accepts the token."""
        answer = self._post([{"taskType": "ping", "taskUUID": new_uuid(), "ping": True}], attempts=2)
        if answer.status >= 400:
            raise first_error(answer.body, answer.status)

    def about(self, progress: Progress | None = None) -> Mapping[str, Any]:
        """What our own service says of itself; empty where another one answers, or none."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            with Line(self._api).open("GET", self.url, (progress or Progress()).check, headers=headers) as reply:
                body = self._read(reply)
        except (httpx.HTTPError, httpx.InvalidURL, NetworkError) as error:
            log.info("The service at %s does not say what it is: %s", self.url, type(error).__name__)
            return {}
        return _json(body, self._token) or {} if reply.response.status_code == 200 else {}

    def account(self) -> Account:
        """The account's balance; raises `ApiKeyError` for a key that is not accepted."""
        task_uuid = new_uuid()
        task = {"taskType": "accountManagement", "taskUUID": task_uuid, "operation": "getDetails"}
        answer = self._post([task], attempts=2)
        for item in read_items(answer.body, task_uuid):
            balance = item.get("balance")
            if isinstance(balance, Mapping):
                return Account(as_number(balance.get("amount")), str(balance.get("currency") or "USD"))
            return Account(as_number(balance))
        raise first_error(answer.body, answer.status)

    def download(self, result: Result, path: Path, progress: Progress | None = None) -> Path:
        """Fetch a result's GLB to `path`, whole and checked or not at all; see `download.download`."""
        return download(self._files, self._where_now(result.url), path, progress or Progress(), self.wait)

    def download_latents(self, result: Result, path: Path, progress: Progress | None = None) -> Path:
        """Fetch what a result was decoded from, as `download` does; only our own service has it."""
        found = download(
            self._files,
            self._where_now(result.latents_url),
            path,
            progress or Progress(),
            self.wait,
            check=_check_latents_file,
            attempts=LATENTS_ATTEMPTS,
        )
        return found

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
    ) -> Answer:
        """The service's answer; faults of the connection, 429 and 5xx are retried with growing waits.

        What is raised says by `unsent` that not one of the attempts has left this machine.
        """
        lines: list[Line] = []
        try:
            return self._try(tasks, progress or Progress(), attempts, timeout, headers or {}, lines)
        except TrellisError as error:
            error.unsent = not any(line.has_left for line in lines)
            raise

    def _try(
        self,
        tasks: list[dict[str, Any]],
        progress: Progress,
        attempts: int,
        timeout: httpx.Timeout,
        headers: Mapping[str, str],
        lines: list[Line],
    ) -> Answer:
        fault: TrellisError | None = None
        may_have_arrived = False
        attempt = finds = 0
        while attempt < attempts:
            progress.check()
            at_least = 0.0
            line = Line(self._api)
            lines.append(line)
            try:
                response, body = self._exchange(line, tasks, headers, timeout, progress)
                status = response.status_code
                if status == 401 and self._find is not None and finds < FINDS:
                    finds += 1
                    if self._look_for_it(self._find, progress):
                        continue  # started anew, with another token
                is_answer = body is not None and status not in RETRIED_STATUS and not response.is_redirect
                busy = _busy(tasks[0], body, status) if is_answer else None
                if is_answer and busy is None:
                    return Answer(status, body, may_have_arrived)
                fault = busy or self._fault(response, body)
                at_least = _retry_after(response)
                if busy is None and 300 <= status < 500 and status not in RETRIED_STATUS:
                    break  # somebody else answers here, and will the next time
                may_have_arrived = may_have_arrived or not isinstance(fault, BusyError)
            except httpx.TimeoutException as error:
                may_have_arrived = may_have_arrived or line.has_left
                fault = self._not_in_time(error) if line.has_left else self._not_reached(error)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                may_have_arrived = may_have_arrived or line.has_left
                fault = self._not_reached(error)
                if is_lasting(error):
                    break
            if self._find is not None and finds < FINDS and isinstance(fault, NetworkError):
                # one of our own that has ended: it is not the network, and whoever looks after it knows more
                finds += 1
                has_moved = self._look_for_it(self._find, progress)
                if has_moved or not isinstance(fault, TimedOutError):
                    self.pause(0.1, progress)
                    continue
            if attempt < attempts - 1:
                log.info("Asking the service again: %s", fault)
                self.wait(attempt, progress, at_least)
            attempt += 1
        assert fault is not None
        raise fault

    def _look_for_it(self, find: Find, progress: Progress) -> bool:
        """Whether it has moved; what is raised where it is not there any more says why."""
        url, token = find(progress)
        has_moved = (url, token) != (self.url, self._token)
        if url != self.url:
            self._former.add(self.url)
        self.url, self._token = url, token
        return has_moved

    def _where_now(self, url: str) -> str:
        """The address of a file of the service's that was told before it moved."""
        for former in self._former:
            old, new = (base.removesuffix("/v1") for base in (former, self.url))
            if url.startswith(old + "/"):
                return new + url.removeprefix(old)
        return url

    def _exchange(
        self,
        line: Line,
        tasks: list[dict[str, Any]],
        headers: Mapping[str, str],
        timeout: httpx.Timeout,
        progress: Progress,
    ) -> tuple[httpx.Response, Any]:
        """One request and its reply."""
        headers = {**headers, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        if not self.remote:
            headers = {**headers, **self._own_headers}
        options: dict[str, Any] = {"json": tasks, "headers": headers, "timeout": timeout}
        with line.open("POST", self.url, progress.check, head_limit=timeout.read, **options) as reply:
            body = self._read(reply)
        return reply.response, _json(body, self._token)

    def _read(self, reply: LineReply) -> bytes:
        """A reply's body, piece by piece: one that drips in for ever, or unpacks to more and more, holds nothing up."""
        body = bytearray()
        # What is packed twice could fill the memory with a single piece.
        is_too_large = "," in reply.response.headers.get("content-encoding", "")
        for piece in () if is_too_large else reply.pieces(DRIP_LIMIT):
            body += piece
            if is_too_large := len(body) > REPLY_LIMIT:
                break
        if is_too_large:
            raise NetworkError(
                "The service at {url} answers with more than {limit} MB, which is too large for a reply; "
                "check the address.",
                url=self.url,
                limit=REPLY_LIMIT // 2**20,
            )
        return bytes(body)

    def _not_in_time(self, error: Exception) -> NetworkError:
        fault = TimedOutError("The service at {url} does not answer in time; check the network.", url=self.url)
        fault.__cause__ = error
        return fault

    def _not_reached(self, error: Exception) -> NetworkError:
        is_near_by = not self.remote and is_near(urlsplit(self.url).hostname or "")
        fault = explain(error) or NetworkError(
            # its firewall, and macOS' own question, are what stands between machines of one network
            "The service at {url} cannot be reached ({kind}); see that it runs, that its machine's firewall lets this "
            "one in, and, on a Mac, that Blender is allowed under System Settings > Privacy & Security > Local Network."
            if is_near_by
            else "The service at {url} cannot be reached ({kind}); check the address and the network.",
            url=self.url,
            kind=short(error),
        )
        fault.__cause__ = error
        return fault

    def _fault(self, response: httpx.Response, body: Any) -> TrellisError:
        """The error for a reply that is not one of the protocol, or that is worth another try."""
        if response.status_code == 401:
            return first_error(body, 401)
        if isinstance(body, Mapping) and not response.is_redirect:
            error = first_error(body, response.status_code)
            # Such a status is the service's state, whatever the code in its body is called.
            return error if isinstance(error, (BusyError, ServiceError)) else ServiceError(error.message, raw=body)
        if response.status_code == 429:
            return BusyError("The service is busy: too many requests. Try again in a minute.")
        if response.is_redirect:
            # Not followed: the key and the picture are for this address only.
            return NetworkError(
                "The service at {url} sends its callers to another address (status {status_code}); check the address.",
                url=self.url,
                status_code=response.status_code,
            )
        kind = ServiceError if response.status_code >= 400 else NetworkError
        return kind(
            message(
                "The service at {url} answers with status {status} and no JSON; check the address, or try again later.",
                url=self.url,
                status=response.status_code,
            )
        )


def read_items(body: Any, task_uuid: str) -> list[Mapping[str, Any]]:
    """The items of `data` that are this task's, whether `data` is a list or an object."""
    data = body.get("data") if isinstance(body, Mapping) else None
    items = data if isinstance(data, list) else [data]
    return [i for i in items if isinstance(i, Mapping) and i.get("taskUUID") in (None, "", task_uuid)]


def _check_latents_file(path: Path) -> bool:
    """Raise `DamagedFileError` unless it is a sound file of latents."""
    from ..formats.latents import FILE_LIMIT, check_latents

    with path.open("rb") as file:
        data = file.read(FILE_LIMIT + 1)
    try:
        check_latents(data)
    except LatentsError as error:
        raise DamagedFileError(error.message) from error
    return True


def _json(content: bytes, token: str) -> Any:
    """The reply's JSON, or None where it is none that the protocol could have."""
    if len(token) >= 8:  # what a reply quotes ends up in messages and reports
        content = content.replace(token.encode(), b"(the key)")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _busy(task: Mapping[str, Any], body: Any, status: int) -> TrellisError | None:
    """That the service is busy, where the body says so and the status does not; None where it says more than that.

    Whether a service that is out of order has to do with a task that it polls is for the poll to judge.
    """
    reply = read_reply(body, str(task.get("taskUUID")))
    if reply.results or reply.pending or not reply.errors or not all(map(is_of_service, reply.errors)):
        return None
    fault = error_from(reply.errors[0], status)
    is_poll = task.get("taskType") in ("getResponse", "getTaskDetails")
    return fault if isinstance(fault, BusyError) or (isinstance(fault, ServiceError) and not is_poll) else None


def _error_of(reply: Reply, answer: Answer) -> TrellisError:
    return error_from(reply.errors[0], answer.status) if reply.errors else first_error(answer.body, answer.status)


def _retry_after(response: httpx.Response) -> float:
    """Seconds to wait, told as such or as a date, which goes by the service's own clock: ours may be wrong."""
    told, date = response.headers.get("retry-after", "0"), response.headers.get("date")
    try:
        is_number = told[:1] in "+-.0123456789"
        seconds = float(told) if is_number else _date(told) - (_date(date) if date else time.time())
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _date(header: str) -> float:
    return parsedate_to_datetime(header).timestamp()
