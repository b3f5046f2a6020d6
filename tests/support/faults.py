"""The faults that a `FaultServer` can be told to make; its docstring has the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from fault_server import FILE, FOREVER, POLL, SUBMIT, Exchange, Fault, Json

OTHER_UUID = "00000000-0000-4000-8000-000000000000"


# Faults: the request never reaches the service, unless done=True


def dropped(on: str, **script: int) -> Fault:
    """The connection is reset; the service has heard nothing."""
    return Fault("dropped", on, lambda exchange: exchange.cut(), **script)


def status(code: int, on: str, *, done: bool = False, **script: int) -> Fault:
    """This status with the platform's kind of error in it."""
    error = {"code": "serviceUnavailable", "message": f"Something went wrong here ({code})."}
    return _instead(f"status {code}", on, code, {"errors": [error]}, done=done, script=script)


def rate_limited(on: str, retry_after: float | None = None, **script: int) -> Fault:
    """429, with a Retry-After header or without."""
    error = {"code": "rateLimitExceeded", "message": "Too many requests; wait a moment."}
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return _instead("rate limited", on, 429, {"data": [], "errors": [error]}, headers, script=script)


def refused(
    code: str,
    http_status: int,
    on: str,
    message: str = "It is refused.",
    *,
    times: int = 1,
    after: int = 0,
    **more: Any,
) -> Fault:
    """An error object of your choice: refused("insufficientCredits", 402, SUBMIT, parameter=...)."""
    body = {"data": [], "errors": [{"code": code, "message": message, **more}]}
    return _instead(code, on, http_status, body, script={"times": times, "after": after})


def html(on: str, code: int = 200, *, done: bool = False, **script: int) -> Fault:
    """A web page, such as a proxy's or a hotel's."""
    page = b"<!doctype html><html><body><h1>Welcome</h1></body></html>"
    return _instead("html", on, code, page, {"content-type": "text/html; charset=utf-8"}, done=done, script=script)


def empty(on: str, code: int = 200, *, done: bool = False, **script: int) -> Fault:
    return _instead("empty", on, code, b"", done=done, script=script)


def garbage(on: str, *, done: bool = False, **script: int) -> Fault:
    """JSON by its name and not by its content."""
    return _instead("garbage", on, 200, b'{"data": [{"taskType": "3dInf', done=done, script=script)


def hang(seconds: float, on: str, *, done: bool = False, **script: int) -> Fault:
    """No answer for this long; then the connection is reset."""

    async def action(exchange: Exchange) -> None:
        if done:
            await exchange.run()
        await asyncio.sleep(seconds)
        await exchange.cut()

    return Fault("hang", on, action, **script)


# Faults: the service does what was asked


def lost_answer(on: str, **script: int) -> Fault:
    """Done, and the connection is reset before a byte of the answer."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        await exchange.cut()

    return Fault("lost answer", on, action, **script)


def delayed(seconds: float, on: str, **script: int) -> Fault:
    """The request arrives late; the answer is good."""

    async def action(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.pass_on()

    return Fault("delayed", on, action, **script)


def late(seconds: float, on: str, **script: int) -> Fault:
    """Done at once, answered late."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        await asyncio.sleep(seconds)
        await exchange.reply()

    return Fault("late", on, action, **script)


def reset(on: str, share: float = 0.5, **script: int) -> Fault:
    """A part of the answer's body, then the connection is reset."""
    return _broken("reset", on, lambda length: length, share, reset_it=True, script=script)


def truncated(on: str, share: float = 0.5, **script: int) -> Fault:
    """A part of the body that Content-Length names, then an orderly end of the connection."""
    return _broken("truncated", on, lambda length: length, share, script=script)


def wrong_length(on: str, by: int, **script: int) -> Fault:
    """The whole body under a Content-Length that is wrong by so many bytes."""
    return _broken("wrong length", on, lambda length: length + by, 1.0, script=script)


def dripping(on: str, seconds: float = 1.0, pieces: int = 20, **script: int) -> Fault:
    """The whole answer, in small pieces over this long."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        await exchange.reply(pieces=pieces, pause=seconds / pieces)

    return Fault("dripping", on, action, **script)


def cut_short(on: str = FILE, share: float = 0.5, **script: int) -> Fault:
    """A part of the body as if it were all: only its content tells."""
    return _changed("cut short", on, lambda body: body[: int(len(body) * share)], script)


def altered(on: str = FILE, **script: int) -> Fault:
    """The whole length with zeros from the middle on."""
    return _changed("altered", on, lambda body: body[: len(body) // 2] + bytes(len(body) - len(body) // 2), script)


def redirected(on: str = FILE, **script: int) -> Fault:
    """302 to the same path under another host's name: no header with a key may go there."""

    async def action(exchange: Exchange) -> None:
        target = exchange.server.other_host + exchange.scope["path"]
        await exchange.reply(302, {"location": target}, b"")

    return Fault("redirected", on, action, **script)


def looping(on: str = FILE, **script: int) -> Fault:
    """302 to itself; with FOREVER it never ends."""

    async def action(exchange: Exchange) -> None:
        await exchange.reply(302, {"location": exchange.scope["path"]}, b"")

    return Fault("looping", on, action, **script)


def header_drips(on: str, seconds: float = 0.2, **script: int) -> Fault:
    """The answer's header begins, and goes on a byte at a time, without an end."""

    async def action(exchange: Exchange) -> None:
        transport = exchange.send.__self__.transport
        transport.write(b"HTTP/1.1 200 OK\r\nX-A: ")
        while not transport.is_closing():
            transport.write(b"a")
            await asyncio.sleep(seconds)

    return Fault("header drips", on, action, **script)


def said_busy(on: str, code: int = 200, name: str = "rateLimitExceeded", **script: int) -> Fault:
    """A rate limit in the body, under a status that is none."""
    error = {"code": name, "message": "Too many requests; wait a moment."}
    return _instead("said busy", on, code, {"data": [], "errors": [error]}, script=script)


def packed(on: str = FILE, size: int = 60_000_000, **script: int) -> Fault:
    """A gzip-packed body that was not asked for: some KB that unpack to this many bytes."""
    import gzip

    return _instead("packed", on, 200, gzip.compress(bytes(size)), {"content-encoding": "gzip"}, script=script)


def results_at(address: str, on: str = POLL, **script: int) -> Fault:
    """The results' addresses are all this one."""

    def change(item: Json) -> Json:
        files = item.get("outputs", {}).get("files")
        return {**item, "outputs": {"files": [{**file, "url": address} for file in files]}} if files else item

    return edited("results at", on, _each(change), **script)


def costing(cost: Any, on: str = POLL, **script: int) -> Fault:
    """Every result is told to cost this."""
    return edited("costing", on, _each(lambda item: {**item, "cost": cost}), **script)


def clock_jump(seconds: float, on: str, **script: int) -> Fault:
    """The service's clock jumps, then the request is done."""

    async def action(exchange: Exchange) -> None:
        exchange.server.clock.jump(seconds)
        await exchange.pass_on()

    return Fault("clock jump", on, action, **script)


# Faults: the answer's JSON, changed


def edited(name: str, on: str, change: Callable[[Json], Any], **script: int) -> Fault:
    """The answer with its decoded body replaced by `change(body)`."""

    def changed(body: bytes) -> bytes:
        return json.dumps(change(json.loads(body))).encode()

    return _changed(name, on, changed, script)


def data_as_object(on: str, **script: int) -> Fault:
    return edited("data as object", on, lambda body: {**body, "data": (body.get("data") or [{}])[0]}, **script)


def without_status(on: str = POLL, **script: int) -> Fault:
    return edited("without status", on, _each(lambda item: _less(item, "status")), **script)


def without_index(on: str = POLL, **script: int) -> Fault:
    return edited("without index", on, _each(lambda item: _less(item, "resultIndex")), **script)


def empty_errors(on: str, **script: int) -> Fault:
    return edited("empty errors", on, lambda body: {**body, "errors": body.get("errors", [])}, **script)


def single_error(on: str, code: str = "inferenceError", **script: int) -> Fault:
    """{"error": {...}} in place of everything."""
    return edited("single error", on, lambda body: {"error": _error(code), **_identity(body)}, **script)


def item_error(on: str = POLL, code: str = "inferenceError", **script: int) -> Fault:
    """The failure inside of `data`, with status 200."""
    failed = _each(lambda item: {**_identity({"data": [item]}), "status": "error", "error": _error(code)})
    return edited("item error", on, failed, **script)


def list_parameter(on: str = SUBMIT, **script: int) -> Fault:
    """A refusal whose `parameter` is a list."""
    fields = ["settings.resolution", "settings.textureSize"]
    return refused("incompatibleParameters", 400, on, "These do not go together.", parameter=fields, **script)


def for_others(on: str, **script: int) -> Fault:
    """Only news that belong to another task."""
    return edited("for others", on, lambda body: {"data": _others(body), "errors": [_others_error()]}, **script)


def among_others(on: str, **script: int) -> Fault:
    """The right answer between news that belong to another task."""

    def change(body: Json) -> Json:
        return {
            "data": [*_others(body), *body["data"], *_others(body)],
            "errors": [_others_error(), *body.get("errors", [])],
        }

    return edited("among others", on, change, **script)


def duplicated(on: str = POLL, **script: int) -> Fault:
    return edited(
        "duplicated", on, lambda body: {**body, "data": [item for item in body["data"] for _ in range(2)]}, **script
    )


def reversed_order(on: str = POLL, **script: int) -> Fault:
    return edited("reversed order", on, lambda body: {**body, "data": body["data"][::-1]}, **script)


def trickling(on: str = POLL, *, times: int = FOREVER, after: int = 0) -> Fault:
    """One result more a poll, the last first, and nothing of the others."""
    shown = 0

    def change(body: Json) -> Json:
        nonlocal shown
        ready = [item for item in body["data"] if item.get("status") == "success"]
        shown += bool(ready)
        return {**body, "data": ready[::-1][:shown]}

    return edited("trickling", on, change, times=times, after=after)


def status_word(word: str = "pending", on: str = POLL, **script: int) -> Fault:
    """Nothing but an unknown word for how it stands."""
    return edited("status word", on, _each(lambda item: {**_identity({"data": [item]}), "status": word}), **script)


def no_data(on: str, **script: int) -> Fault:
    return edited("no data", on, lambda body: {"data": []}, **script)


def in_the_acknowledgement(**script: int) -> Fault:
    """The result in the answer to the submission, although async was asked for."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        uuid = exchange.tasks[0]["taskUUID"]
        record = exchange.server.service.tasks.get(uuid)
        while record is not None and not record.done:
            await asyncio.sleep(0.005)
        assert record is not None
        data, _errors = exchange.server.service.tasks.items(record)
        await exchange.reply(200, body=json.dumps({"data": data}).encode())

    return Fault("in the acknowledgement", SUBMIT, action, **script)


def files_elsewhere(on: str = POLL, **script: int) -> Fault:
    """The files' addresses are on another host."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        body = exchange.body.replace(exchange.server.base.encode(), exchange.server.other_host.encode())
        await exchange.reply(body=body)

    return Fault("files elsewhere", on, action, **script)


# How it is done


def _instead(
    name: str,
    on: str,
    code: int,
    body: Json | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    done: bool = False,
    script: Mapping[str, int],
) -> Fault:
    """A whole answer in place of the service's."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def action(exchange: Exchange) -> None:
        if done:
            await exchange.run()
            exchange.headers = {}
        await exchange.reply(code, headers, content)

    return Fault(name, on, action, **script)


def _changed(name: str, on: str, change: Callable[[bytes], bytes], script: Mapping[str, int]) -> Fault:
    async def action(exchange: Exchange) -> None:
        await exchange.run()
        await exchange.reply(body=change(exchange.body))

    return Fault(name, on, action, **script)


def _broken(
    name: str,
    on: str,
    length: Callable[[int], int],
    share: float,
    *,
    reset_it: bool = False,
    script: Mapping[str, int],
) -> Fault:
    """The answer written by hand, under a length and to an extent of our choice."""

    async def action(exchange: Exchange) -> None:
        await exchange.run()
        headers = {**exchange.headers, "content-length": str(length(len(exchange.body))), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        part = exchange.body[: int(len(exchange.body) * share)]
        await exchange.cut(f"HTTP/1.1 {exchange.status} OK\r\n{head}\r\n".encode() + part, reset=reset_it)

    return Fault(name, on, action, **script)


def _each(change: Callable[[Json], Json]) -> Callable[[Json], Json]:
    return lambda body: {**body, "data": [change(item) for item in body.get("data", [])]}


def _less(item: Json, key: str) -> Json:
    return {name: value for name, value in item.items() if name != key}


def _identity(body: Json) -> Json:
    item = next(iter(body.get("data") or body.get("errors") or [{}]))
    return {key: item[key] for key in ("taskType", "taskUUID") if key in item}


def _error(code: str) -> Json:
    return {"code": code, "message": "The generation failed."}


def _others(body: Json) -> list[Json]:
    """The items, as if another task had made them."""
    items = body.get("data") or [{"taskType": SUBMIT}]
    return [{**item, "taskUUID": OTHER_UUID, "status": "success", "outputs": {"files": []}} for item in items]


def _others_error() -> Json:
    return {**_error("inferenceError"), "taskType": SUBMIT, "taskUUID": OTHER_UUID, "status": "error"}
