"""The service as a process: the engine it chooses, its start, its signals, and its end with its parent."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from conftest import PATIENCE
from service_tools import (
    PIXEL,
    TOKEN,
    Running,
    local_server,
    png,
    ready,
    start,
    task,
)

from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL


def test_the_choice_of_engines() -> None:
    running = Running("draft")
    try:
        for model in (TRELLIS2_MODEL, DRAFT_MODEL):
            assert running.post(task(model=model, deliveryMethod="sync")).json()["data"][0]["engine"] == DRAFT_MODEL
    finally:
        running.close()


# The process


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    process = start(tmp_path, parent_pipe=True)
    assert process.stdin is not None
    process.stdin.write(TOKEN + "\n")
    process.stdin.flush()
    line = ready(process)
    assert set(line) == {"url", "pid", "version", "protocol", "engine"} and line["engine"] == DRAFT_MODEL
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE) as client:
        assert client.get(line["url"]).status_code == 200
        # work of all kinds is under way when the parent goes
        gone = threading.Event()
        with local_server(lambda handler: gone.wait(PATIENCE)) as slow:
            client.post(line["url"], json=[task(inputs={"image": slow}), task()])
            (folder,) = tmp_path.iterdir()
            if os.name == "posix":
                assert folder.stat().st_mode & 0o777 == 0o700
            process.stdin.close()
            assert process.wait(PATIENCE) == 0, "it waits for none of that"
            gone.set()
    assert list(tmp_path.iterdir()) == []
    assert process.stdout is not None and process.stderr is not None
    rest, log = process.stdout.read(), process.stderr.read()
    assert rest == "" and TOKEN not in log and "Fatal" not in log and "Traceback" not in log


def test_the_draft_engine_behind_the_process(tmp_path: Path) -> None:
    process = start(tmp_path, parent_pipe=True, engine="draft")
    assert process.stdin is not None
    process.stdin.write(TOKEN + "\n")
    process.stdin.flush()
    url = ready(process)["url"]
    smallest = {"resolution": 512, "textureSize": 1024, "decimationTarget": 100_000}
    picture = base64.b64encode(png(256)).decode()
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE) as client:
        asked = task(deliveryMethod="sync", seed=3, inputs={"image": picture}, settings=smallest)
        (item,) = client.post(url, json=[asked]).json()["data"]
        glb = client.get(item["outputs"]["files"][0]["url"]).content
        assert glb.startswith(b"glTF") and int.from_bytes(glb[8:12], "little") == len(glb)
        largest = {"resolution": 1536, "textureSize": 4096, "decimationTarget": 1_000_000}
        client.post(url, json=[task(inputs={"image": picture}, settings=largest)])
        time.sleep(0.2)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert list(tmp_path.iterdir()) == []
    assert process.stderr is not None and "Traceback" not in process.stderr.read()


@pytest.mark.skipif(
    os.name != "posix",
    reason="needs signals; Windows ends a process without one, as if it were killed",
)
def test_signals_end_the_process_cleanly(tmp_path: Path) -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path, token=TOKEN)
        line = ready(process)
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert client.get(line["url"]).status_code == 200
            process.send_signal(number)
            output, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and output == "" and TOKEN not in log and "Traceback" not in log
        assert list(tmp_path.iterdir()) == []


def test_a_token_is_made_up_for_a_person(tmp_path: Path) -> None:
    process = start(tmp_path)
    line = ready(process)
    assert process.stderr is not None
    sentence = process.stderr.readline()
    while "token" not in sentence:
        sentence = process.stderr.readline()
    token = sentence.split(" is ")[1].split()[0]
    assert len(token) >= 32
    assert httpx.get(line["url"], headers={"Authorization": f"Bearer {token}"}).status_code == 200
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE)
    assert token not in output


def test_it_does_not_start_where_it_should_not(capfd: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.service import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        for options, word in (
            ({"engine": "trellis2", "token": "x"}, "not available"),
            ({"engine": "best"}, "choose one of"),
            ({"host": "0.0.0.0"}, "--token"),
            ({"token": "x", "port": taken.getsockname()[1]}, "another port"),
            ({"token": "x", "port": 99999}, "another port"),
            ({"token": "x", "folder": "/no/such/folder"}, "another folder"),
            ({"token": "two words"}, "token"),
            ({"workers": 0}, "workers"),
        ):
            assert serve(**options) == 2  # type: ignore[arg-type]
            output, error = capfd.readouterr()
            assert output == "" and word in error and error.count("\n") == 1


def test_other_hosts_are_welcome_where_it_was_opened_to_them() -> None:
    process = start(host="0.0.0.0", token=TOKEN)
    port = ready(process)["url"].rsplit(":", 1)[1].split("/")[0]
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "workstation:8000"}
    upload = [{"taskType": "imageUpload", "image": PIXEL}]
    reply = httpx.post(f"http://127.0.0.1:{port}/v1", headers=headers, json=upload)
    assert reply.json()["data"][0]["imageURL"].startswith("http://workstation:8000/files/")
    process.terminate()
    process.communicate(timeout=PATIENCE)
