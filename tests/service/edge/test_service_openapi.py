"""The service's description of itself agrees with what it does; and nothing that is sent makes it fail or hang."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from service_tools import PIXEL, TOKEN, Running, task

from trellis_addon.service.edge.openapi import describe
from trellis_addon.service.protocol import STATUS
from trellis_addon.task.settings import FIELDS, OWN_FIELDS, SEED_MAX, TASK_TYPE
from trellis_addon.task.task import examples


@pytest.fixture(scope="module")
def run() -> Iterator[Running]:
    running = Running(workers=2)
    yield running
    running.close()


def schemas() -> dict[str, Any]:
    return describe()["components"]["schemas"]


def leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in schema["properties"].items():
        if "properties" in value:
            assert value["additionalProperties"] is False
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_it_is_for_everybody_at_our_address(run: Running) -> None:
    response = httpx.get(f"{run.base}/openapi.json")
    assert response.status_code == 200 and response.json() == describe()
    assert response.json()["openapi"].startswith("3.1")
    assert TOKEN not in response.text and str(run.service.folder.path) not in response.text
    assert httpx.get(f"{run.base}/openapi.json", headers={"Host": "evil.example"}).status_code == 403


def test_every_field_with_its_limits_and_no_other() -> None:
    schema = schemas()["task." + TASK_TYPE]
    found = dict(leaves(schema))
    assert set(found) == {field.path for field in (*FIELDS, *OWN_FIELDS)}
    for field in (*FIELDS, *OWN_FIELDS):
        value = found[field.path]
        assert (value.get("minimum"), value.get("maximum")) == (field.minimum, field.maximum)
        assert tuple(value.get("enum", ())) == field.choices and value.get("default") == field.default
    assert found["seed"]["maximum"] == SEED_MAX and json.loads(json.dumps(SEED_MAX)) == SEED_MAX
    assert found["settings.textureSize"]["multipleOf"] == 1024
    assert set(schema["required"]) == {"taskType", "taskUUID", "model", "inputs"}
    assert schema["properties"]["inputs"]["anyOf"] == [{"required": ["image"]}, {"required": ["latents"]}]


def test_the_published_examples_fit() -> None:
    """Every key that they use is described, and every value lies within its limits."""
    schema = schemas()["task." + TASK_TYPE]

    def check(value: Any, schema: dict[str, Any]) -> None:
        if isinstance(value, dict):
            assert set(schema.get("required", ())) <= set(value)
            for name, item in value.items():
                check(item, schema["properties"][name])
        else:
            kinds = {"integer": int, "number": (int, float), "boolean": bool, "string": str}
            assert isinstance(value, kinds[schema["type"]])
            assert value in schema.get("enum", [value])
            assert isinstance(value, (str, bool)) or schema.get("minimum", value) <= value <= schema.get(
                "maximum", value
            )

    for example in examples():
        check(example["request"], schema)


def test_every_task_type_and_status_is_described(run: Running) -> None:
    mapping = describe()["components"]["schemas"]["Task"]["discriminator"]["mapping"]
    assert set(mapping) == set(run.service.methods)
    assert set(describe()["paths"]["/v1"]["post"]["responses"]) == {"200", "400", *map(str, STATUS.values())}


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(describe())
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in schemas()


# A fuzzer without any library; `schemathesis` by hand goes further (docs/service.md)

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 2**63, 2**63 - 1, -(2**70), 10**400, "", " ", "x" * 5000, "\ud800", "\x00",
    "é", [], [[]], {}, {"a": {"b": []}}, [1, "x", None], "http://", "https://[", "http://127.0.0.1:99999/",
    "file:///etc/passwd",
    "data:image/png;base64,", "data:,", PIXEL, PIXEL[:-9], "AAAA" * 40, str(uuid.UUID(int=0)),
    "../../x", "NaN", "success",
]  # fmt: skip


def seeds() -> list[dict[str, Any]]:
    sampler = {"steps": 12, "guidanceStrength": 7.5, "guidanceRescale": 0.5, "rescaleT": 3}
    identity = {"taskUUID": str(uuid.uuid4())}
    return [
        task(seed=1, ttl=60, numberResults=2, settings={"resolution": 512, "texSlat": sampler}, includeCost=True),
        task(deliveryMethod="sync", settings={"shapeSlat": sampler}),
        task(inputs={"image": PIXEL, "views": {"back": PIXEL, "135": PIXEL}}),
        task(inputs={"latents": "AAAA"}, settings={"textureFormat": "png"}),
        {"taskType": "getResponse", **identity},
        {"taskType": "getTaskDetails", **identity},
        {"taskType": "cancelTask", **identity},
        {"taskType": "imageUpload", "image": PIXEL, **identity},
        {"taskType": "mediaStorage", "operation": "upload", "media": PIXEL, **identity},
        {"taskType": "mediaStorage", "operation": "delete", "mediaUUID": str(uuid.uuid4()), **identity},
        {"taskType": "accountManagement", "operation": "getDetails", **identity},
        {"taskType": "authentication", "apiKey": "x"},
        {"taskType": "ping", "ping": True},
    ]


def mutate(value: Any, dice: random.Random) -> Any:
    """The value with something in it replaced, removed or added."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        action = dice.random()
        rest = {name: item for name, item in value.items() if name != key}
        if action < 0.15:
            return rest
        if action < 0.25:
            return {
                **value,
                dice.choice(["x", "", "taskType", "inputs", "settings", "webhookURL", "\ud800"]): dice.choice(ODD),
            }
        return {**value, key: mutate(value[key], dice)}
    return dice.choice(ODD)


def spoil(body: bytes, dice: random.Random) -> bytes:
    """The body with a few bytes changed, or cut off."""
    if dice.random() < 0.3:
        return body[: dice.randrange(len(body))]
    changed = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("number", range(4))
def test_nothing_makes_it_fail_or_hang(run: Running, number: int) -> None:
    dice = random.Random(number)
    headers = {"Content-Type": "application/json"}
    accepted = refused = 0
    for _ in range(400):
        tasks = [
            mutate(task, dice) if dice.random() < 0.9 else task for task in dice.sample(seeds(), dice.randint(1, 3))
        ]
        body = json.dumps(tasks).encode()
        if dice.random() < 0.2:
            body = spoil(body, dice)
        response = run.http.post("/v1", content=body, headers=headers)
        assert response.status_code in {200, 400, *STATUS.values()} - {500}, (body, response.text)
        reply = response.json()
        accepted += bool(reply.get("data"))
        for error in reply.get("errors", ()):
            refused += 1
            assert error["code"] and error["message"] and "Traceback" not in error["message"], error
            assert error["code"] != "internalServerError", (body, error)
    assert accepted and refused
    assert run.post({"taskType": "ping"}).json() == {"data": [{"taskType": "ping", "pong": True}]}


def test_odd_addresses_and_headers(run: Running) -> None:
    dice = random.Random(1)
    odd = ["%00", "%ff", "..%2f", "%2e%2e", "a" * 3000, "?x=", "//", "%", ";", "\\"]
    headers: list[Callable[[], dict[str, str]]] = [
        lambda: {
            "Range": dice.choice(["bytes=", "bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-0,2-2", "bytes=99999999999-"])
        },
        lambda: {"X-Runware-Dry-Run": dice.choice(["", "2", "true"])},
        lambda: {"Authorization": dice.choice(["", "Bearer", "Bearer x", "Basic x", "bearer " + TOKEN])},
    ]
    upload = run.post({"taskType": "imageUpload", "image": PIXEL}).json()["data"][0]["imageURL"].removeprefix(run.base)
    for _ in range(150):
        path = dice.choice(
            [upload, "/files/" + "".join(dice.choices(odd, k=2)), "/v1" + dice.choice(odd), "/openapi.json"]
        )
        response = run.http.request(dice.choice(["GET", "HEAD", "PUT", "DELETE"]), path, headers=dice.choice(headers)())
        assert response.status_code < 500, (path, response.text)
