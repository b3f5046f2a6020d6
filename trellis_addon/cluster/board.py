"""What services and people leave for each other in the cluster, in the store of Ray's head.

Each service writes how things stand with it; whoever wants a machine drained writes that down. Nothing here is needed
for a result: what is lost with the head is written again.
"""

from __future__ import annotations

import json
from typing import Any

_SPACE = b"trellis2"
_STATUS = b"status:"  # + the job of Ray's that the service is
_DRAIN = b"drain:"  # + the machine's id
FINISH, NOW = "finish", "now"
"""How a machine is drained: what it works on is finished, or handed over at once."""


def publish(status: dict[str, Any]) -> None:
    _put(_STATUS + _own_job(), json.dumps(status).encode())


def withdraw() -> None:
    _delete(_STATUS + _own_job())


def services() -> list[dict[str, Any]]:
    """What the services that are alive have written; of those that were killed it is deleted."""
    import ray

    alive = {job["JobID"].encode() for job in ray._private.state.jobs() if not job["IsDead"]}
    found = []
    for key in _keys(_STATUS):
        if key.removeprefix(_STATUS) not in alive:
            _delete(key)
        elif text := _get(key):
            found.append(json.loads(text))
    return found


def drain(node: str, how: str) -> None:
    """Have a machine drained, until `use`."""
    _put(_DRAIN + node.encode(), how.encode())


def use(node: str) -> None:
    _delete(_DRAIN + node.encode())


def drained() -> dict[str, str]:
    """The machines to be drained, by their ids, and how."""
    return {key.removeprefix(_DRAIN).decode(): (_get(key) or b"").decode() for key in _keys(_DRAIN)}


def _own_job() -> bytes:
    import ray

    return str(ray.get_runtime_context().get_job_id()).encode()


def _put(key: bytes, value: bytes) -> None:
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, overwrite=True, namespace=_SPACE)


def _get(key: bytes) -> bytes | None:
    from ray.experimental.internal_kv import _internal_kv_get

    found: bytes | None = _internal_kv_get(key, namespace=_SPACE)
    return found


def _delete(key: bytes) -> None:
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=_SPACE)


def _keys(prefix: bytes) -> list[bytes]:
    from ray.experimental.internal_kv import _internal_kv_list

    return list(_internal_kv_list(prefix, namespace=_SPACE))
