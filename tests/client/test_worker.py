"""The worker: one for all programs, watched, started again when it dies, and gone when nobody needs it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, disc, encoded, sentence
from service_tools import TOKEN

from trellis_addon import generate
from trellis_addon.client import local_service as workers
from trellis_addon.client.client import Client
from trellis_addon.client.local_service import local_service, start_worker, stop_worker, worker_status
from trellis_addon.core.configuration import HOME_VARIABLE
from trellis_addon.core.errors import EngineError, ServiceError
from trellis_addon.core.progress import Progress
from trellis_addon.jobs.job import Asset, State
from trellis_addon.jobs.store import JobStore
from trellis_addon.service.lifetime import presence
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task

pytestmark = pytest.mark.skipif(
    os.name != "posix",
    reason="the stand-in for a Python is a shell script; on Windows the draft's service lives and ends alike",
)

once = pytest.mark.once
PICTURE = encoded(disc(64))


class Desk:
    """A program's folders, and the wires to the engine in its worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.place = self.home / "worker" / "service"
        self.store = JobStore(folder / "store")

    def hold(self, seed: int | None = None) -> None:
        (self.folder / ("hold" if seed is None else f"hold-{seed}")).touch()

    def go(self) -> None:
        for path in self.folder.glob("hold*"):
            path.unlink()

    def let(self, seed: int, *actions: str) -> None:
        (self.folder / f"do-{seed}").write_text("\n".join(actions))

    def events(self, what: str = "") -> list[str]:
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.rpartition(" ")[0] for line in lines if line.startswith(what)]

    def start(self, seed: int, **options: Any) -> Job:
        return Job(self, seed, options)


class Job:
    """A generation in a thread, as the panel has them."""

    def __init__(self, desk: Desk, seed: int, options: dict[str, Any]) -> None:
        self.error: BaseException | None = None
        self.asset: Asset | None = None
        self.stages: list[str] = []

        def work() -> None:
            try:
                progress = Progress(lambda stage, share: self.stages.append(stage))
                store = desk.store
                self.asset = generate(PICTURE, backend="local", seed=seed, store=store, progress=progress, **options)
            except Exception as error:
                self.error = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def done(self, seconds: float = PATIENCE) -> Asset:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), (self.stages[-1:], worker_status())
        assert self.error is None, self.error
        assert self.asset is not None
        return self.asset

    def failed(self, seconds: float = PATIENCE) -> str:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), (self.stages[-1:], worker_status())
        assert isinstance(self.error, EngineError), (self.error, self.asset)
        return sentence(self.error)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    python = tmp_path / "python"
    stand_in = ROOT / "tests" / "support" / "worker_python.py"
    path = os.pathsep.join(filter(None, sys.path))
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "{stand_in}" "$@"\n')
    python.chmod(0o755)
    found = Desk(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(found.home))
    monkeypatch.setenv("TRELLIS2_PYTHON", str(python))
    monkeypatch.setenv("TRELLIS2_TEST_FOLDER", str(tmp_path))
    monkeypatch.setattr("trellis_addon.service.lifetime.restarts.WAITS", (0.0, 0.0, 0.1, 0.1, 0.1))
    monkeypatch.setattr("trellis_addon.client.supervisor._ASK", 0.2)
    yield found
    found.go()
    workers.stop_local_services()


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, worker_status()
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # of a child that nobody has waited for, only the entry is left
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


# It dies, and the work goes on


def test_killed_in_mid_step_and_both_jobs_arrive(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.lifetime.restarts.WAITS", (1.5, 1.5))
    desk.hold(11)
    first = desk.start(10, number_results=2)
    wait_for(lambda: "begin 11" in desk.events())
    second = desk.start(20)
    status = wait_for(lambda: worker_status() if worker_status().waiting == 2 else None)
    os.kill(status.pid, signal.SIGKILL)
    wait_for(lambda: worker_status().restarts == 1 and worker_status().state == "running")
    again = worker_status()
    assert again.pid != status.pid and again.url == status.url and "by force" in again.cause
    desk.go()
    assert [asset.seed for asset in first.done().variations] == [10, 11]
    assert second.done().seed == 20
    assert desk.events("end") == ["end 10", "end 11", "end 20"] or desk.events("end") == ["end 10", "end 20", "end 11"]
    assert desk.events("begin").count("begin 11") == 2, "what was in work begins again, what was done does not"
    assert [job.state for job in desk.store.recent()] == [State.READY] * 2
    for job in (first, second):
        assert any("ended by force" in stage for stage in job.stages), "told while it is mended"


@pytest.mark.parametrize(
    ("way", "cause"),
    [("kill", "by force"), ("crash", "crashed inside a library"), ("lost", "graphics driver gave up in the middle")],
)
def test_a_task_that_takes_it_down_twice_fails_and_the_others_go_on(desk: Desk, way: str, cause: str) -> None:
    desk.let(1, way, way, way)
    desk.hold()
    bad = desk.start(1)
    wait_for(lambda: "begin 1" in desk.events())
    good = desk.start(2)
    wait_for(lambda: worker_status().waiting == 2)
    desk.go()
    told = bad.failed()
    assert "twice" in told and cause in told and "given up" in told
    assert good.done().seed == 2
    assert worker_status().restarts == 2 and cause in worker_status().cause
    assert desk.events("begin").count("begin 1") == 2


def test_a_task_that_took_it_down_once_is_forgiven_when_it_gets_on(desk: Desk) -> None:
    desk.let(1, "kill", "good")
    desk.let(2, "kill", "good")
    assert [a.seed for a in desk.start(1, number_results=2).done().variations] == [1, 2]
    assert worker_status().restarts == 2


@once
def test_it_is_not_started_for_ever(desk: Desk) -> None:
    jobs = []
    for seed in range(1, 5):
        desk.let(seed, *["crash"] * 9)
        jobs.append(desk.start(seed))
    for job in jobs:
        job.failed(60)
    status = worker_status()
    assert status.state == "failed" and "6 times in a row" in status.cause and "crashed" in status.cause
    assert desk.start(9).done().seed == 9, "somebody's word starts it again"


def test_a_stopped_one_stays_stopped_until_somebody_asks(desk: Desk) -> None:
    desk.hold()
    job = desk.start(1)
    wait_for(lambda: "begin 1" in desk.events())
    pid = worker_status().pid
    stop_worker()
    assert worker_status().state == "stopped" and not is_alive(pid)
    job.thread.join(PATIENCE)
    assert isinstance(job.error, ServiceError) and "stopped" in sentence(job.error)
    desk.go()
    (kept,) = desk.store.recent()
    assert kept.state is State.RUNNING, "it goes on with the next worker"
    from trellis_addon.api import resume

    ((_, asset),) = resume(store=desk.store)
    assert isinstance(asset, Asset) and asset.seed == 1
    assert desk.events("end") == ["end 1"]


# One for all


SECOND = """
import sys, time
from trellis_addon.client.local_service import local_service, worker_status
service = local_service("auto")
print(worker_status().pid, flush=True)
sys.stdin.readline()
"""


def other_program() -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-c", SECOND],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def pid_of(program: subprocess.Popen[str]) -> int:
    assert program.stdout is not None
    return int(program.stdout.readline())


@once
def test_programs_share_one_and_the_last_one_ends_it(desk: Desk) -> None:
    other = other_program()
    pid = pid_of(other)
    assert start_worker().pid == pid, "found, not started"
    assert generate(PICTURE, backend="local", seed=1, store=desk.store).seed == 1
    other.kill()  # the one that had started it
    other.communicate()
    time.sleep(1.2)
    assert is_alive(pid) and generate(PICTURE, backend="local", seed=2, store=desk.store).seed == 2
    os.kill(pid, signal.SIGKILL)  # not a child of ours: found out all the same, and another takes its place
    assert generate(PICTURE, backend="local", seed=3, store=desk.store).seed == 3
    status = worker_status()
    assert status.pid != pid and status.restarts == 1 and status.cause
    third = other_program()
    assert pid_of(third) == status.pid
    workers.stop_local_services()
    time.sleep(0.3)
    assert is_alive(status.pid), "another program uses it"
    third.kill()
    third.communicate()
    wait_for(lambda: not is_alive(status.pid))
    assert not presence.read_worker(desk.place)


def test_a_program_that_dies_leaves_no_orphan(desk: Desk) -> None:
    desk.hold()
    other = other_program()
    pid = pid_of(other)
    other.kill()
    other.communicate()
    wait_for(lambda: not is_alive(pid))


@once
def test_two_that_start_at_once_have_the_same(desk: Desk) -> None:
    programs = [other_program() for _ in range(3)]
    assert len({pid_of(program) for program in programs}) == 1
    for program in programs:
        program.kill()
        program.communicate()


@once
def test_one_of_other_wishes_or_older_code_makes_room_when_idle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_worker().pid
    desk.hold()
    job = desk.start(1)
    wait_for(lambda: "begin 1" in desk.events())
    monkeypatch.setenv("TRELLIS2_DEVICE", "cpu")
    assert local_service("auto").pid == first, "while it has work it stays"
    desk.go()
    job.done()
    assert local_service("auto").pid != first and not is_alive(first)
    second = worker_status().pid
    monkeypatch.setattr("trellis_addon.client.supervisor.VERSION", "99.0.0")
    assert local_service("auto").pid != second and not is_alive(second)


@once
def test_installing_moves_it_to_the_chosen_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis_addon.core.version import VERSION
    from trellis_addon.runtime.layout import Installation, LocalFolder

    first = start_worker().pid
    chosen = LocalFolder(desk.folder / "chosen")
    chosen.python.parent.mkdir(parents=True)
    chosen.python.symlink_to(desk.folder / "python")
    chosen.write_state(Installation(VERSION, "cpu", complete=True))
    monkeypatch.setenv("TRELLIS2_LOCAL", str(chosen.root))
    monkeypatch.delenv("TRELLIS2_PYTHON")
    before = {path for path in desk.folder.rglob("*") if chosen.root not in path.parents}
    asset = generate(PICTURE, backend="local", seed=1, store=desk.store)
    assert asset.seed == 1 and worker_status().pid != first and not is_alive(first)
    told = presence.read_worker(chosen.service)
    assert told["pid"] == worker_status().pid and (chosen.logs / "worker.log").read_text()
    running = Path(f"/proc/{told['pid']}/environ")
    assert not running.exists() or f"HOME={chosen.cache}" in running.read_text()
    stop_worker()
    after = {path for path in desk.folder.rglob("*") if chosen.root not in path.parents}
    new = {path for path in after - before if desk.folder / "store" not in path.parents}
    assert new <= {desk.folder / "events", desk.folder / "store"}, "it writes nothing outside of the chosen folder"


def test_what_lies_in_its_folder(desk: Desk) -> None:
    status = start_worker()
    told = presence.read_worker(desk.place)
    assert told["pid"] == status.pid and told["url"] == status.url and status.version
    assert (desk.place / presence.WORKER).stat().st_mode & 0o777 == 0o600
    assert desk.place.stat().st_mode & 0o777 == 0o700
    generate(PICTURE, backend="local", seed=1, store=desk.store)
    log = (desk.home / "worker" / "worker.log").read_text()
    assert "accepted" in log and told["token"] not in log
    command = Path(f"/proc/{status.pid}/cmdline")
    assert not command.exists() or told["token"] not in command.read_text()
    stop_worker()
    assert not presence.read_worker(desk.place)
    assert not {path.name for path in desk.folder.iterdir()} - {"home", "python", "events", "store"}


@once
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(),
    reason="Linux alone tells a process's children; elsewhere the tests above start and end alike",
)
def test_one_started_by_hand_is_started_again_as_well(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "trellis_addon", "serve", "--restart", "--token", TOKEN, "--engine", "draft"]
    arguments += ["--folder", str(tmp_path / "service")]
    keeper = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    url = json.loads(keeper.stdout.readline())["url"]
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    (pid,) = map(int, wait_for(lambda: children.read_text().split()))
    with Client(url, TOKEN, remote=False) as client:
        picture = "data:image/png;base64," + base64.b64encode(encoded(disc(600))).decode()
        tasks = [Task(picture, Settings(resolution=1536, seed=seed)) for seed in (1, 2)]
        for task in tasks:
            client.submit(task)
        wait_for(lambda: client.poll(tasks[0].uuid).stage)
        os.kill(pid, signal.SIGKILL)
        for task in tasks:
            (result,) = wait_for(lambda task=task: client.poll(task.uuid).results, 30)
            client.download(result, tmp_path / "asset.glb")
    (again,) = map(int, children.read_text().split())
    assert again != pid
    keeper.terminate()
    _, said = keeper.communicate(timeout=PATIENCE)
    assert keeper.returncode == 0 and not is_alive(again)
    assert "The service ended: it was ended by force" in said and "it is started again" in said and TOKEN not in said


def test_the_asset_tells_what_it_took(desk: Desk) -> None:
    local_service("auto")
    with workers_client() as client:
        task = Task("data:image/png;base64," + base64.b64encode(PICTURE).decode(), Settings(seed=3))
        client.submit(task)
        body = wait_for(lambda: _finished(client, task.uuid))
    performance = body["performance"]
    assert performance.pop("seconds") >= 0
    assert performance == {"device": "Test", "peakMemory": 7, "resolution": 512} and body["notes"] == ["A note."]


def workers_client() -> Any:
    from trellis_addon.client.backends import Backend, connect

    return connect(Backend("local"))


def _finished(client: Any, uuid: str) -> dict[str, Any] | None:
    import httpx

    answer = httpx.post(
        client.url,
        json=[{"taskType": "getResponse", "taskUUID": uuid}],
        headers={"Authorization": f"Bearer {client._token}"},
    )
    (item,) = json.loads(answer.content)["data"]
    return item if item["status"] == "success" else None
