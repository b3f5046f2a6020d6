"""Our own service: the Runware task protocol over HTTP on this machine, with a local engine behind it.

A process of its own: the add-on starts it and talks to it exactly as it talks to the remote API.

main             start, the ready line, the ways to end
edge             requests coming in, over HTTP and WebSocket: who may ask, how large, how slowly
people           who may ask, and what they may
limits           how much anybody may ask for at once
protocol         reading requests, writing replies and errors
handshake        what the two sides must agree on
handlers         one method a task type
records          tasks and files as plain data
queue            what is to be made: written down, and whose turn it is
worker           the threads that generate
content          what comes in and out: pictures, meshes, latents, and where they lie
page             the page in a browser
administration   what an administrator sees and does
monitoring       what it tells those who look after it: troubles, the log, numbers
lifetime         for whom it lives, why it has ended, and whether it is started again
watchdog         starting a service again that was started by hand and has died
"""

from __future__ import annotations

from pathlib import Path


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    engine: str = "auto",
    workers: int | None = None,
    folder: str | Path | None = None,
    allow_private_addresses: bool | None = None,
    parent_pipe: bool = False,
    shared: str | None = None,
    log: str | Path | None = None,
    log_format: str = "text",
    quota: int | None = None,
    restart: bool = False,
    page: bool | None = None,
    cluster: str | None = None,
) -> int:
    """Run the service until it is told to end; the return value is the process's exit code.

    `port` 0 takes a free one. `token` is what clients must show; None makes one up and tells it on
    standard error. `engine` is one of `engines.registry.CHOICES`; `workers` results are worked on at
    the same time, each by an engine of its own; None is one for each device. Tasks and files are kept in `folder` and
    survive the process; with None they are in memory and in a temporary folder, and gone at the end.

    Web addresses in tasks may lead to this machine and its private network where
    `allow_private_addresses` says so; None allows it while only this machine can ask.

    With `parent_pipe` the first line of standard input is the token, and the service ends when that pipe closes;
    with `shared`, which `folder` must come with, it ends when no program holds a file in `folder`/clients locked
    any more (see `lifetime.presence`), and the text is told to programs that find it there. `log` is a file for
    what would go to standard error, in one of `monitoring.logs.FORMATS`. `quota` are the bytes that files may have;
    beyond them the oldest results go. `page`: whether there is one for browsers at "/"; None is one unless a
    program has started the service (`parent_pipe`). With `cluster` ("auto", or the address of its head) the
    machines of a Ray cluster make the results. With `restart` the service runs in a process of its own, which is
    started again when it dies. Returns 0 after a clean end, 2 when it cannot start (one sentence on standard
    error), 75 when the device can be used no more by this process.
    """
    from .main import Options, run

    options = Options(
        host=host,
        port=port,
        token=token,
        engine=engine,
        workers=workers,
        folder=Path(folder) if folder is not None else None,
        allow_private_addresses=allow_private_addresses,
        parent_pipe=parent_pipe,
        shared=shared,
        log=Path(log) if log is not None else None,
        log_format=log_format,
        quota=quota,
        page=page,
        cluster=cluster,
    )
    if restart:
        from .watchdog import keep_running

        return keep_running(options)
    return run(options)
