"""Our own service: the Runware task protocol over HTTP on this machine, with a local engine behind it.

A process of its own: the add-on starts it and talks to it exactly as it talks to the remote API.

    main        start, the ready line, the ways to end
    app         the HTTP edges: who may ask, how large, which route
    handlers    one method a task type
    protocol    reading requests, writing replies and errors
    tasks       what is known about each task
    worker      the one thread that generates
    media       pictures that come in
    files       results and uploads behind addresses that cannot be guessed
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
    folder: str | Path | None = None,
    parent_pipe: bool = False,
) -> int:
    """Run the service until it is told to end; the return value is the process's exit code.

    `port` 0 takes a free one. `token` is what clients must show; None makes one up and tells it on
    standard error. `engine` is one of `engines.base.CHOICES`. Files are kept in a folder of their own
    below `folder` (the system's temporary folder when None), removed at the end.

    With `parent_pipe` the first line of standard input is the token, and the service ends when that
    pipe closes. Returns 0 after a clean end, 2 when it cannot start (one sentence on standard error).
    """
    from .main import run

    return run(host=host, port=port, token=token, engine=engine, folder=folder, parent_pipe=parent_pipe)
