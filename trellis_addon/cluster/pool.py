"""The cluster behind a service: which machines and processes there are, looked at twice a second.

A machine that joins is asked what it has, and used where it fits; on one that leaves, or is drained, nothing new is
begun. Each process is a station of the service's workers (`service.queue.station`) for as long as it is there.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import EngineError
from ..core.messages import Message, message
from ..engines import registry
from . import board, joining
from .actor import AT_ONCE, EngineActor
from .calls import MACHINE_GONE, cause_of
from .engine import ClusterEngine
from .members import DRAINED, DRAINS, EMPTY, GONE, UNFIT, USED, Member, Node
from .node import at, can_trellis2, describe_at, unfit, why_silent

if TYPE_CHECKING:
    from ..engines.engine import Engine

log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks
_DESCRIBES = 120.0  # seconds that a machine may take to say what it has
_FIRST = 60.0  # ... of those that are there from the beginning, before it is settled what the service can do
_UNFIT_AGAIN = 60.0  # seconds until a machine that does not fit is asked again
_WAITS = (0.0, 1.0, 5.0, 15.0, 60.0)  # seconds until a process is started again, after so many ends in a row
_MOST_GONE = 20  # machines that are still told of
_HANDS_OVER = 5.0  # seconds before a machine of Ray's choice goes, for what it works on to be handed over

OpenStation = Callable[[Callable[[str], "Engine"]], int]


class Cluster:
    """The machines behind one service.

    `engine` is one of `engines.registry.CHOICES`; with "auto" it is TRELLIS.2 where a machine has it when the service
    starts. `most` is how many results are made at the same time, at most; None is as many as there is room for.
    `create_engine(model)` makes the engines over there, `wishes` are the command line's for all machines.
    """

    def __init__(
        self,
        address: str,
        *,
        engine: str = "auto",
        most: int | None = None,
        create_engine: Callable[[str], Engine] = registry.create_engine,
        wishes: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.is_own = False  # whether the cluster was started here, and ends with this process
        self._engine = engine
        self._most = most
        self._create_engine = create_engine
        self._wishes = dict(wishes or {})
        self._nodes: dict[str, Node] = {}
        self._asked: dict[str, tuple[Any, float]] = {}  # machines that are to say what they have, and since when
        self._has_trellis2 = engine == "trellis2"
        self._open: OpenStation = lambda make: 0
        self._close: Callable[[int], None] = lambda number: None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: dict[str, Any] = {}

    def connect(self) -> None:
        """Join, and settle what the machines can do. Raises `EngineError` in one sentence."""
        self.is_own = joining.join(self.address)
        self._find_nodes()
        if joining.lets_anybody_in({node.address for node in self._nodes.values()}):
            joining.leave()
            raise EngineError(
                "The Ray cluster at {address} asks for no token, so that whoever reaches it runs programs on all its "
                "machines: make one with ray get-auth-token --generate, give it to every machine, set "
                "RAY_AUTH_MODE=token there, and start the cluster again.",
                address=self.address,
            )
        if not joining.asks_for_token():
            log.warning("The Ray cluster asks for no token; docs/cluster.md says how to have it ask.")
        if self._engine == "auto":
            self._wait_for_descriptions()
            self._has_trellis2 = any(can_trellis2(node.about) for node in self._nodes.values() if node.about)

    def has_trellis2(self) -> bool:
        """Whether this cluster runs TRELLIS.2."""
        return self._has_trellis2

    def start(self, open_station: OpenStation, close_station: Callable[[int], None]) -> None:
        """Keep the machines from now on; each process is opened as a station, and closed when it is gone."""
        self._open, self._close = open_station, close_station
        self._thread = threading.Thread(target=self._run, name="trellis-cluster", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave; may be called more than once."""
        if not self._ended.is_set():
            self._ended.set()
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join(2.0)
        joining.leave()

    def status(self) -> dict[str, Any]:
        """How things stand, as plain data."""
        return {
            "service": f"{socket.gethostname()}:{os.getpid()}",
            "engine": "trellis2" if self._has_trellis2 else "draft",
            "nodes": [node.as_json() for node in list(self._nodes.values())],
        }

    # The looks

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._look()
            except Exception as error:
                if self._ended.is_set():
                    return
                log.error("The cluster cannot be looked at", exc_info=error)
                self._ended.wait(_LOOK)

    def _look(self) -> None:
        import ray

        members = [member for node in self._nodes.values() for member in node.members]
        watched = [member.watched for member in members if member.gone is None]
        if watched:
            ray.wait(watched, num_returns=1, timeout=_LOOK)
        else:
            self._ended.wait(_LOOK)
        self._find_nodes()
        self._hear_descriptions()
        self._heed_drains()
        for node in self._nodes.values():
            self._keep(node)
        status = self.status()
        if status != self._told:
            board.publish(status)
            self._told = status

    def _find_nodes(self) -> None:
        import ray

        for row in ray.nodes():
            node = self._nodes.get(row["NodeID"])
            if row["Alive"] and node is None:
                node = Node(row["NodeID"], row["NodeManagerHostname"], row["NodeManagerAddress"], row["Resources"])
                self._nodes[node.id] = node
                self._ask(node)
            elif not row["Alive"] and node is not None and node.state != GONE:
                log.warning("The machine %s is gone from the cluster", node.name)
                self._asked.pop(node.id, None)
                node.state, node.why = GONE, ""
                for member in node.members:
                    member.give_up(MACHINE_GONE)
                board.use(node.id)  # it comes back under another name
        gone = [node for node in self._nodes.values() if node.state == GONE and not node.members]
        for node in gone[:-_MOST_GONE]:
            del self._nodes[node.id]

    def _ask(self, node: Node) -> None:
        """Have a machine say what it has."""
        self._asked[node.id] = (describe_at(node.id), time.monotonic())

    def _wait_for_descriptions(self) -> None:
        import ray

        if self._asked:
            references = [reference for reference, _ in self._asked.values()]
            ray.wait(references, num_returns=len(references), timeout=_FIRST)
            self._hear_descriptions()

    def _hear_descriptions(self) -> None:
        import ray
        from ray import exceptions

        for id, (reference, since) in list(self._asked.items()):
            node = self._nodes[id]
            if not ray.wait([reference], timeout=0)[0]:
                if time.monotonic() - since > _DESCRIBES:
                    self._refuse(node, message("it does not answer"))
                continue
            try:
                node.about = ray.get(reference)
            except exceptions.RayError as error:
                self._refuse(node, why_silent(error))
                continue
            del self._asked[id]
            node.state, node.why = USED, ""

    def _refuse(self, node: Node, why: str) -> None:
        """Name a machine that is not used."""
        self._asked.pop(node.id, None)
        if node.named != why:
            log.warning("The machine %s is not used: %s.", node.name, why)
            node.named = why
        node.state, node.why, node.not_before = UNFIT, why, time.monotonic() + _UNFIT_AGAIN

    def _heed_drains(self) -> None:
        asked = board.drained()
        leaving = _leaving()
        for node in self._nodes.values():
            how = asked.get(node.id)
            deadline = leaving.get(node.id)
            if node.state in (USED, EMPTY) and (how or deadline is not None):
                node.state, node.why = DRAINS, ""
                log.info("The machine %s is drained", node.name)
            elif node.state in (DRAINS, DRAINED) and not how and deadline is None:
                node.state = USED
            if node.state == DRAINS:
                is_near = bool(deadline) and deadline is not None and deadline / 1000 - time.time() < _HANDS_OVER
                self._drain(node, at_once=how == board.NOW or is_near)

    def _drain(self, node: Node, *, at_once: bool) -> None:
        for member in list(node.members):
            self._shut(member)
            if at_once:
                member.hand_over()
            elif not member.busy:
                member.end()
        if not node.members:
            node.state = DRAINED

    # The processes of one machine

    def _keep(self, node: Node) -> None:
        """Have as many processes there as there should be."""
        import ray

        for member in list(node.members):
            if member.gone is None and ray.wait([member.watched], timeout=0)[0]:
                member.give_up(_cause_of(member.watched))
            if member.gone is not None:
                self._shut(member)
                if not member.busy:
                    node.members.remove(member)
                if not (member.is_handed_over or member.is_noted) and node.state == USED:
                    self._has_ended(member)
            elif member.station is None and not member.is_closed and ray.wait([member.ready], timeout=0)[0]:
                member.station = self._open(partial(ClusterEngine, member))
        if node.state == UNFIT and time.monotonic() >= node.not_before and node.id not in self._asked:
            self._ask(node)
        if node.state in (USED, EMPTY) and node.about:
            self._fill(node)

    def _fill(self, node: Node) -> None:
        mark = next(
            (each.about["weightsMark"] for each in self._nodes.values() if each is not node and each.members), ""
        )
        if why := unfit(node.about, needs_trellis2=self._has_trellis2, weights_mark=mark):
            self._refuse(node, why)
            return
        slots = _slots(node.resources, self._has_trellis2)
        node.state = USED if slots else EMPTY
        room = len(slots) - len(node.members)
        if self._most is not None:
            room = min(room, self._most - sum(len(each.members) for each in self._nodes.values()))
        if room > 0 and time.monotonic() >= node.not_before:
            for slot in slots[:room]:
                node.members.append(self._start(node, slot))

    def _start(self, node: Node, slot: Mapping[str, float]) -> Member:
        import ray

        # What runs again is decided by the service, whose journal knows: never by Ray.
        options = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": AT_ONCE}
        made = ray.remote(EngineActor).options(scheduling_strategy=at(node.id), **options, **slot)
        return Member(node, made.remote(self._create_engine, self._wishes))

    def _has_ended(self, member: Member) -> None:
        node = member.node
        log.warning("A process on %s ended: %s.", node.name, member.gone)
        member.is_noted = True
        node.ends += 1
        node.not_before = time.monotonic() + _WAITS[min(node.ends, len(_WAITS)) - 1]

    def _shut(self, member: Member) -> None:
        if not member.is_closed:
            if member.station is not None:
                self._close(member.station)
            member.close()


def _slots(resources: Mapping[str, float], is_trellis2: bool) -> list[dict[str, float]]:
    """What a process on a machine takes of it: a card, or a processor, and all of them for TRELLIS.2 without a card."""
    cards, processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if cards and (is_trellis2 or not processors):
        return [{"num_gpus": 1, "num_cpus": 0}] * cards
    if is_trellis2:
        return [{"num_cpus": processors}] if processors else []
    return [{"num_cpus": 1}] * processors


def _leaving() -> dict[str, int]:
    """The machines that Ray itself drains (`ray drain-node`, Kubernetes), and when they go, in ms since 1970, or 0."""
    import ray

    return dict(ray._private.state.state.get_draining_nodes())


def _cause_of(reference: Any) -> Message:
    """Why an actor is gone, of a call that it will never answer."""
    import ray

    try:
        ray.get(reference, timeout=0)
    except Exception as error:
        return cause_of(error)
    return message("it was told to end")
