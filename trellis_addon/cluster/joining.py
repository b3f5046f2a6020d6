"""A Ray cluster joined, or one started on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import logging
import socket
import threading
from typing import Any

from ..core.addresses import is_this_machine
from ..core.errors import EngineError
from ..core.folders import PACKAGE
from ..core.messages import message

AUTO = "auto"
# Bytes of shared memory on each machine. Results travel in pieces, of which few are there at a time (`engine`).
OBJECT_STORE = 512 * 2**20
NAMESPACE = "trellis2"

log = logging.getLogger(__name__)
_lock = threading.Lock()


def cannot_join(address: str) -> str:
    """Why no cluster can be joined at `address`, as far as can be told without asking anybody; empty where nothing."""
    if __name__.partition(".")[0] != "trellis_addon":
        return message("A cluster is not for Blender's own Python: install the package with pip on every machine.")
    if importlib.util.find_spec("ray") is None:
        return message("A cluster needs the package ray, which is not here: pip install 'trellis2-blender[cluster]'.")
    host, colon, port = address.rpartition(":")
    if address != AUTO and not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        return message(
            '--cluster: "{address}" cannot be used; give auto, or HOST:PORT of the cluster\'s head.', address=address
        )
    return ""


def join(address: str) -> bool:
    """Join the cluster at `address` ("auto": the one on this machine, or a new one); whether it was started here.

    Raises `EngineError`, in one sentence, where that cannot be.
    """
    if problem := cannot_join(address):
        raise EngineError(problem)
    import ray
    from ray import exceptions

    # No log of an actor's may come onto standard output, whose first line is for whoever started the service.
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    told["job_config"] = ray.job_config.JobConfig(_py_driver_sys_path=[str(PACKAGE.parent)])
    _show_token()
    try:
        with contextlib.suppress(ConnectionError):
            ray.init(address=address, **told)
            return False
        if address != AUTO:
            raise EngineError(
                "There is no Ray cluster at {address} that this machine is part of: see that the head runs (ray start "
                "--head), join it here with ray start --address={address}, and start the service again.",
                address=address,
            )
        ray.init(address="local", object_store_memory=OBJECT_STORE, include_dashboard=False, **told)
        return True
    except exceptions.AuthenticationError as error:
        raise EngineError(
            "The Ray cluster at {address} does not take this machine's token: put the head's ~/.ray/auth_token here, "
            "or set RAY_AUTH_TOKEN_PATH.",
            address=address,
        ) from error
    except (RuntimeError, ValueError, OSError, exceptions.RayError) as error:
        raise EngineError(
            "The Ray cluster at {address} cannot be joined ({reason}).", address=address, reason=_first_line(error)
        ) from error


def leave() -> None:
    """Leave the cluster; one that was started here ends. May be called more than once, by any thread."""
    import ray

    with _lock:
        if ray.is_initialized():
            ray.shutdown()


def asks_for_token() -> bool:
    """Whether this process shows Ray's token to whomever it asks, and wants to be shown it."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return bool(is_token_auth_enabled())


def lets_anybody_in(hosts: set[str]) -> bool:
    """Whether machines besides this one are part of a cluster that asks for no token."""
    return not asks_for_token() and any(not _is_own(host) for host in hosts)


def _show_token() -> None:
    """Where there is a token of Ray's, have it shown: Ray does so by itself only for an address it has found itself."""
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    finally:
        logger.setLevel(level)


def _is_own(host: str) -> bool:
    """Whether an address is this machine's: one that a socket can be bound to."""
    if is_this_machine(host):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError, ValueError), socket.socket(family) as probe:
        probe.bind((str(ipaddress.ip_address(host)), 0))
        return True
    return False


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
