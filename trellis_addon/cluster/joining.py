"""A Ray cluster joined, or one started on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ..core.addresses import is_this_machine
from ..core.configuration import configuration, tell_this_process
from ..core.errors import EngineError
from ..core.folders import PACKAGE
from ..core.messages import message, reason_of

AUTO = "auto"
# Bytes of shared memory on each machine. Results travel in pieces, of which few are there at a time (`engine`).
OBJECT_STORE = 512 * 2**20
NAMESPACE = "trellis2"
_MODE = "RAY_AUTH_MODE"
_ANSWERS = 5.0  # seconds that a head may take to be reached

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


def join(address: str, *, may_start: bool = True) -> bool:
    """Join the cluster at `address` ("auto": the one on this machine, or a new one); whether it was started here.

    Without `may_start` none is started. Raises `EngineError`, in one sentence, where that cannot be.
    """
    if problem := cannot_join(address):
        raise EngineError(problem)
    # Whatever still asks Ray for something after the end must not start a cluster by that; read when it is imported.
    tell_this_process({"RAY_ENABLE_AUTO_CONNECT": configuration().variables.get("RAY_ENABLE_AUTO_CONNECT", "0")})
    import ray
    from ray import exceptions

    # No log of an actor's may come onto standard output, whose first line is for whoever started the service.
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    told["job_config"] = ray.job_config.JobConfig(_py_driver_sys_path=[str(PACKAGE.parent)])
    found = _find() if address == AUTO else address
    if not (found or may_start):
        raise EngineError(
            "No Ray cluster runs on this machine; give the address of its head, or start one (ray start --head)."
        )
    try:
        if found:
            _reach(found)
            ray.init(address=found, **told)
        else:
            _set_mode("token")  # whatever was tried before
            ray.init(address="local", object_store_memory=OBJECT_STORE, include_dashboard=False, **told)
    except exceptions.AuthenticationError as error:
        raise EngineError(
            "The Ray cluster at {address} does not take this machine's token: put the head's ~/.ray/auth_token here, "
            "or set RAY_AUTH_TOKEN_PATH.",
            address=found,
        ) from error
    except (RuntimeError, ValueError, OSError, exceptions.RayError) as error:
        raise EngineError(
            "The Ray cluster at {address} cannot be joined ({reason}); this machine must be part of it: ray start "
            "--address={address}.",
            address=found or address,
            reason=_first_line(error),
        ) from error
    return not found


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


def _find() -> str:
    """The address of a cluster that runs on this machine and takes this user's token; empty where there is none.

    What Ray has noted may be one that has crashed, and what runs may be somebody else's.
    """
    from ray import exceptions
    from ray._private.services import find_bootstrap_address, find_gcs_addresses

    noted = configuration().variables.get("RAY_ADDRESS", "") or find_bootstrap_address(None) or ""
    for address in dict.fromkeys(filter(None, (noted, *sorted(find_gcs_addresses())))):
        try:
            _reach(address)
        except (EngineError, exceptions.RayError, ValueError):
            continue
        return address
    return ""


def _reach(address: str) -> None:
    """Raise where nobody answers, and show Ray's token where it is asked for.

    Ray shows it by itself only to a cluster that it has found itself. Shown to one that asks for none it does harm: its
    machines cannot answer, and processes on them are taken for ones that nobody needs. So a cluster is asked first.
    """
    from ray import exceptions
    from ray._raylet import AuthenticationTokenLoader, GcsClient

    host, _, port = address.rpartition(":")
    try:  # Ray itself would wait for minutes
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
    except OSError as error:
        raise EngineError(
            "Nothing answers at {address} ({reason}): start the cluster's head first (ray start --head --port={port}), "
            "or give the address that it printed.",
            address=address,
            port=port,
            reason=reason_of(error),
        ) from error
    wanted = configuration().variables.get(_MODE, "")
    _set_mode("disabled")
    try:
        with _unheard():
            GcsClient(address=address)
    except exceptions.AuthenticationError:
        _set_mode("token")
        if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
            raise
        with _unheard():
            GcsClient(address=address)
    else:
        if wanted == "token":
            raise EngineError(
                "{variable} says token here, but the Ray cluster at {address} was started without: start it again with "
                "{variable}=token on all its machines.",
                variable=_MODE,
                address=address,
            )


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Without what Ray's native code says on standard error: a refusal is what was to be found out."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _set_mode(mode: str) -> None:
    """Have Ray's library show its token, or not. It reads that from the environment, at once and in its processes."""
    from ray._raylet import Config

    tell_this_process({_MODE: mode})
    Config.initialize("")


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
