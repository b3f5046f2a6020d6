"""Our own service: the Runware task protocol over HTTP on this machine, with a local engine behind it.

A process of its own: the add-on starts it and talks to it exactly as it talks to the remote API.

    main        start, the ready line, the ways to end
    app         the HTTP edges: who may ask, how large, which route
    websocket   the same over a WebSocket, where one can be had
    handlers    one method a task type
    protocol    reading requests, writing replies and errors
    openapi     the service's description of itself
    tasks       what is known about each task
    worker      the threads that generate
    addresses   web addresses in tasks, and where they may not lead
    media       pictures that come in
    files       results and uploads behind addresses that cannot be guessed
    folder      where all of that lies, for a run or for good
    journal     what is written down, so that it survives the process
    delivery    webhooks and uploads of finished files
"""

from __future__ import annotations

from pathlib import Path


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    engine: str = "auto",
    workers: int = 1,
    folder: str | Path | None = None,
    allow_private_addresses: bool | None = None,
    parent_pipe: bool = False,
) -> int:
    """Run the service until it is told to end; the return value is the process's exit code.

    `port` 0 takes a free one. `token` is what clients must show; None makes one up and tells it on
    standard error. `engine` is one of `engines.base.CHOICES`; `workers` tasks are worked on at the
    same time, each by an engine of its own. Tasks and files are kept in `folder` and survive the
    process; with None they are in memory and in a temporary folder, and gone at the end.

    Web addresses in tasks may lead to this machine and its private network where
    `allow_private_addresses` says so; None allows it while only this machine can ask.

    With `parent_pipe` the first line of standard input is the token, and the service ends when that
    pipe closes. Returns 0 after a clean end, 2 when it cannot start (one sentence on standard error).
    """
    from .main import Options, run

    return run(
        Options(
            host=host,
            port=port,
            token=token,
            engine=engine,
            workers=workers,
            folder=Path(folder) if folder is not None else None,
            allow_private_addresses=allow_private_addresses,
            parent_pipe=parent_pipe,
        )
    )
