"""Where a task is run: the remote API, our own service on this machine, or one at an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..core.addresses import by_number, complete, has_login, is_this_machine, is_web_address, without_login
from ..core.configuration import KEY_VARIABLE, REMOTE_URL_VARIABLE, TOKEN_VARIABLE, configuration
from ..core.errors import ApiKeyError, FieldError, OfflineError, ServiceError
from ..core.given import demand
from ..core.keys import demand_key, find_key
from ..core.messages import message
from ..core.progress import Progress
from ..service.handshake import mismatch
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL
from .client import Client
from .local_service import lasting_service, local_service

BACKENDS = ("remote", "local", "draft")
REMOTE_URL = "https://api.runware.ai/v1"


@dataclass(frozen=True)
class Backend:
    """A choice of where to run. `name` is "remote", "local", "draft" or an address of a service, which is completed.

    `can_wait`: at a service of our own, whoever waits for one picture comes first.
    """

    name: str
    key: str = field(default="", repr=False)
    allow_network: bool = True
    can_wait: bool = False

    def __post_init__(self) -> None:
        rule = message("allowed: {allowed}, or the http:// address of a service", allowed=list(BACKENDS))
        demand(self.name, str, "backend", rule)
        demand_key(self.key)
        name = self.name.strip()
        if name not in BACKENDS:
            name = service_address(name) if _looks_like_address(name) else name
            if not is_web_address(name):
                raise FieldError("backend", name, rule)
        object.__setattr__(self, "name", name)

    @classmethod
    def of(cls, given: str | Backend, key: str = "", allow_network: bool = True) -> Backend:
        """The backend of what a script gave: its name, or one that is made already. Raises `FieldError`."""
        return given if isinstance(given, Backend) else cls(given, key, allow_network)

    @property
    def is_address(self) -> bool:
        return self.name.startswith(("http://", "https://"))

    @property
    def is_remote(self) -> bool:
        """Whether pictures leave for a paid service: then only what was set is sent, and no stand-in answers."""
        return self.name == "remote"

    @property
    def default_model(self) -> str:
        return DRAFT_MODEL if self.name == "draft" else TRELLIS2_MODEL

    def check_model(self, model: str) -> str:
        """Refuse a model that this backend cannot run, before anything is sent."""
        if self.is_remote and model != TRELLIS2_MODEL:
            rule = message("the remote API runs {model}; choose the draft backend for the draft", model=TRELLIS2_MODEL)
            raise FieldError("model", model, rule)
        return model


@contextmanager
def connect(backend: Backend, progress: Progress | None = None) -> Iterator[Client]:
    """A client of the backend; our own service is started when it is not running yet.

    A client of our own service finds it again when it was started anew. Raises `ApiKeyError`, `OfflineError`,
    `EngineError` when the service does not start, `ServiceError` for one of an edition that cannot be talked to,
    `Cancelled`.
    """
    if backend.name in ("local", "draft"):
        engine = "auto" if backend.name == "local" else "draft"
        service = local_service(engine)

        def find(progress: Progress) -> tuple[str, str]:
            found = lasting_service(engine, progress)
            return found.url, found.token

        with Client(service.url, service.token, remote=False, find=find, can_wait=backend.can_wait) as client:
            yield client
        return
    url = _remote_url() if backend.is_remote else _with_path(backend.name)
    if not backend.allow_network and not is_this_machine(urlsplit(url).hostname or ""):
        raise OfflineError(
            "Online access is off: switch on Allow Online Access in Preferences > System, or use the draft backend."
        )
    if backend.is_remote:
        key, _ = find_key(backend.key)
        if not key:
            raise ApiKeyError(
                "There is no API key for the remote API: enter it in the preferences, or set {variable}.",
                variable=KEY_VARIABLE,
            )
    else:
        # The key of the remote API goes to the remote API only; another service has a token of its own.
        key = backend.key or configuration().service_token
    address = url if backend.is_remote else by_number(url)
    with Client(address, key, remote=backend.is_remote, can_wait=backend.can_wait) as client:
        if not backend.is_remote:
            problem = mismatch(client.about(progress), message("The service at {url}", url=url))
            if problem:
                raise ServiceError(problem)
        yield client


def _with_path(url: str) -> str:
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"


def is_same_service(address: str, other: str) -> bool:
    """Whether two addresses, as somebody entered them, are those of one service."""
    return bool(address and other) and len({_with_path(complete(each)).rstrip("/") for each in (address, other)}) == 1


def service_address(text: str) -> str:
    """The address of a service as it is used and kept, of what somebody entered; `FieldError` for one with a password.

    What cannot be an address comes back as it is.
    """
    if "@" in text:
        where = text.partition("://")[0] + "://" if "://" in text else ""
        shown = where + text.rpartition("@")[2]  # of what stands before it, nobody knows where the password ends
        raise FieldError(
            "backend",
            shown,
            message=message(
                'backend: "{address}" was given with a name or a password before it, which an address may not '
                "hold; give the service's token in its own field, or in {variable}.",
                address=shown,
                variable=TOKEN_VARIABLE,
            ),
        )
    return complete(text)


def _looks_like_address(text: str) -> bool:
    """Whether it is meant as an address, and not as the name of a backend that is misspelt."""
    return any(sign in text for sign in ".:/@") or text.lower() == "localhost"


def _remote_url() -> str:
    """Where the remote API is; raises `FieldError` for a variable that names no address."""
    text = configuration().remote_url
    url = complete(text) if text else REMOTE_URL
    if has_login(url) or not is_web_address(url):
        raise FieldError(
            REMOTE_URL_VARIABLE, without_login(url), "give an http:// or https:// address without a name or a password"
        )
    return url
