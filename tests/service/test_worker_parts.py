"""The parts of the worker: whose turn it is, which device, when it lets go of it, what its end means, who may talk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, sentence
from service_tools import TOKEN, FakeEngine, Running, local_server, task, until

from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.client.replies import read_reply
from trellis_addon.core.configuration import DEVICE_VARIABLE
from trellis_addon.core.errors import Cancelled, DeviceMemoryError, EngineError, FieldError, ServiceError
from trellis_addon.core.machine.device_faults import is_out_of_memory, why_lost
from trellis_addon.core.messages import translated
from trellis_addon.core.progress import Progress
from trellis_addon.engines import registry
from trellis_addon.engines.devices import local_devices
from trellis_addon.engines.engine import Made
from trellis_addon.engines.memory_policy import Attempt, make_within_memory
from trellis_addon.service.handshake import CLIENT_HEADER, PROTOCOL, SERVICE_NAME, mismatch
from trellis_addon.service.lifetime.exit_causes import cause_of, tail_of
from trellis_addon.service.main import about_firewall, for_others, shorten_log
from trellis_addon.service.queue.schedule import Scheduler
from trellis_addon.service.records import Slot, TaskRecord
from trellis_addon.service.worker import idle_minutes
from trellis_addon.task.settings import Settings

# Whose turn it is


def record(name: str, results: int = 1, client: str = "", starts: int = 0) -> TaskRecord:
    slots = [Slot() for _ in range(results)]
    return TaskRecord(name, Settings(), "", {}, 0, "", slots, client=client, starts=starts)


def order(turns: Scheduler) -> list[str]:
    taken = []
    while (turn := turns.take(0)) is not None:
        taken.append(f"{turn.record.uuid}{turn.index}")
        turns.done(turn)
    return taken


def test_tasks_take_turns() -> None:
    turns = Scheduler()
    for one in (record("a", 4), record("b", 2), record("c")):
        turns.add(one)
    assert order(turns) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_results_may_be_made_at_once_where_nobody_else_waits() -> None:
    turns = Scheduler()
    first, second = record("first", 4), record("second", 2, client="other")
    turns.add(first)
    turn = turns.take()
    assert turn is not None and turns.following(first) == [1, 2, 3]
    assert turns.following(second) == []
    turns.add(second)
    assert turns.following(first) == [] == turns.following(second)


def test_clients_take_turns_however_much_each_has() -> None:
    turns = Scheduler()
    for number in range(5):
        turns.add(record(f"a{number}-", client="A"))
    turns.add(record("b", 2, client="B"))
    assert order(turns) == ["a0-0", "b0", "a1-0", "b1", "a2-0", "a3-0", "a4-0"]


def test_what_has_its_result_gets_no_turn() -> None:
    turns = Scheduler()
    half = record("a", 3)
    half.slots[1].item = {}
    turns.add(half)
    assert order(turns) == ["a0", "a2"]


def test_suspects_are_worked_on_one_at_a_time() -> None:
    turns = Scheduler()
    for one in (record("a", 2, starts=1), record("b", starts=1), record("c")):
        turns.add(one)
    first, second = turns.take(0), turns.take(0)
    assert first is not None and second is not None
    assert (first.record.uuid, second.record.uuid) == ("a", "c") and turns.take(0) is None
    turns.done(second)
    assert turns.take(0) is None
    turns.done(first)
    assert order(turns) == ["b0", "a1"]


def test_a_turn_is_waited_for() -> None:
    turns = Scheduler()
    threading.Timer(0.05, turns.add, [record("a")]).start()
    turn = turns.take(5)
    assert turn is not None and turn.record.uuid == "a"
    threading.Timer(0.05, turns.close).start()
    assert turns.take() is None and turns.closed


def test_a_long_task_does_not_keep_another_program_waiting() -> None:
    running = Running()
    try:
        running.engine.gate.clear()
        running.post(task(seed=10, numberResults=4), headers={CLIENT_HEADER: "one"})
        assert running.engine.began.wait(PATIENCE)
        running.post(*(task(seed=seed) for seed in (20, 30)), headers={CLIENT_HEADER: "one"})
        last = task(seed=40)
        running.post(last, headers={CLIENT_HEADER: "two"})
        running.engine.gate.set()
        running.settle(last["taskUUID"])
        until(lambda: len(running.engine.seeds) == 7)
        assert running.engine.seeds == [10, 11, 40, 20, 30, 12, 13]
    finally:
        running.close()


# Devices


class Devices:
    """A service whose TRELLIS.2 is a small engine, on as many devices as wished."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: list[str], **options: Any) -> None:
        monkeypatch.setattr(registry, "trellis2_available", lambda: True)
        self.made: list[tuple[str, str]] = []
        self.engines: list[FakeEngine] = []
        self.running = Running(devices=lambda: names, **options)
        self.running.service._workers._create_engine = self.create

    def create(self, model: str, device: str = "") -> FakeEngine:
        self.made.append((model, device))
        self.engines.append(FakeEngine())
        self.engines[-1].gate.clear()
        return self.engines[-1]

    def wait(self, count: int) -> None:
        end = time.monotonic() + PATIENCE
        while sum(engine.began.is_set() for engine in self.engines) < count:
            assert time.monotonic() < end, self.made
            time.sleep(0.005)

    def close(self) -> None:
        for engine in self.engines:
            engine.gate.set()
        self.running.close()


def test_all_devices_work_and_one_task_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch, ["cuda:0", "cuda:1", "cuda:2"], workers=None)
    try:
        assert devices.running.service.about()["workers"] == 1 and not devices.running.service.about()["devices"]
        asked = task(seed=1, numberResults=4)
        devices.running.post(asked)
        devices.wait(3)
        assert sorted(device for _, device in devices.made) == ["cuda:0", "cuda:1", "cuda:2"]
        about = devices.running.http.get("/v1").json()
        assert about["devices"] == ["cuda:0", "cuda:1", "cuda:2"] and about["workers"] == 3
        assert about["unfinished"] == 1 and about["protocol"] == PROTOCOL
        for engine in devices.engines:
            engine.gate.set()
        items = devices.running.settle(asked["taskUUID"])["data"]
        assert [item["seed"] for item in items] == [1, 2, 3, 4]
    finally:
        devices.close()


@pytest.mark.parametrize(("workers", "made"), [(None, [""]), (2, ["", ""])])
def test_with_one_device_there_is_nothing_to_choose(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, made: list[str]
) -> None:
    devices = Devices(monkeypatch, ["auto"], workers=workers)
    try:
        devices.running.post(*(task() for _ in range(3)))
        devices.wait(len(made))
        time.sleep(0.05)
        assert [device for _, device in devices.made] == made
    finally:
        devices.close()


def test_the_draft_asks_for_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> list[str]:
        raise AssertionError("it would load PyTorch")

    running = Running(workers=None, devices=asked)
    try:
        done = task()
        running.post(done)
        assert running.settle(done["taskUUID"])["data"][0]["status"] == "success"
    finally:
        running.close()


def test_the_device_that_is_named_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda:1")
    assert local_devices() == ["cuda:1"]


@pytest.mark.parametrize(
    ("sizes", "devices"),
    [([24], ["cuda:0"]), ([24, 24], ["cuda:0", "cuda:1"]), ([2, 24, 16], ["cuda:1", "cuda:2"]), ([], ["auto"])],
)
def test_cards_that_are_fit_for_it(sizes: list[int], devices: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    cuda = SimpleNamespace(
        is_available=lambda: bool(sizes),
        device_count=lambda: len(sizes),
        get_device_properties=lambda number: SimpleNamespace(total_memory=sizes[number]),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert local_devices() == devices


def test_idle_engines_let_go_of_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS2_IDLE", str(0.1 / 60))
    running = Running()
    released: list[float] = []
    running.engine.release = lambda: released.append(time.monotonic())  # type: ignore[method-assign]
    try:
        for count in (1, 2):
            asked = task()
            running.post(asked)
            running.settle(asked["taskUUID"])
            end = time.monotonic() + PATIENCE
            while len(released) < count and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.25)
            assert len(released) == count, "after each work once, and not while there is none"
    finally:
        running.close()


def test_how_long_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRELLIS2_IDLE", raising=False)
    assert idle_minutes() == 5.0
    for text in ("soon", "-1", "nan"):
        monkeypatch.setenv("TRELLIS2_IDLE", text)
        with pytest.raises(FieldError) as caught:
            idle_minutes()
        sentence(caught.value)
    result = subprocess.run(
        [sys.executable, "-m", "trellis_addon", "serve", "--idle", "soon"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2 and "--idle" in result.stderr and "soon" in result.stderr and not result.stdout


# What its end means


@pytest.mark.parametrize(
    ("code", "said", "kills", "words"),
    [
        (-9, "", 0, "ended by force"),
        (-9, "CUDA error: out of memory", 0, "ended by force"),
        (-9, "", 1, "memory was used up"),
        (-11, "", 0, "crashed inside a library or the graphics driver"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", 0, "memory did not suffice"),
        (-4, "", 0, "processor lacks"),
        (0xC0000005, "", 0, "crashed inside a library"),
        (0xC0000005 - 2**32, "", 0, "crashed inside a library"),
        (0xC0000409, "", 0, "gave up"),
        (0xC0000017, "", 0, "memory did not suffice"),
        (
            75,
            "ERROR x: The device is lost\nRuntimeError: CUDA error: unspecified launch failure\n",
            0,
            "driver gave up",
        ),
        (75, "RuntimeError: CUDA error: device-side assert triggered", 0, "computation on the graphics card"),
        (
            1,
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
            0,
            "no code for this",
        ),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", 0, "memory did not suffice"),
        (1, "Traceback (most recent call last):\nMemoryError", 0, "memory did not suffice"),
        (1, "OSError: [Errno 28] No space left on device", 0, "disk is full"),
        (3, "something odd.", 0, "code 3 (something odd)"),
        (None, "", 0, "without a word"),
    ],
)
def test_the_cause_in_plain_words(code: int | None, said: str, kills: int, words: str) -> None:
    cause = cause_of(code, said, kills)
    assert words in cause
    sentence(EngineError(f"The worker ended: {cause}."))


def test_an_old_error_in_the_log_is_not_the_cause() -> None:
    said = "\n".join(["RuntimeError: CUDA error: out of memory", *["INFO all is well"] * 100])
    assert "memory" not in cause_of(-11, said)


def test_errors_of_devices() -> None:
    for text in (
        "CUDA out of memory. Tried",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling",
        "MPS backend out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "rocBLAS error: rocblas_status_memory_error",
        "HIP error: hipErrorOutOfMemory",
        "NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp:1131",
        "Failed to allocate 1073741824 bytes on device 'cuda:0'",
        "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "Invalid buffer size: 20.00 GiB",
        "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
    ):
        assert is_out_of_memory(RuntimeError(text)) and not why_lost(RuntimeError(text))
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(DeviceMemoryError("x"))
    for text in ("CUDA error: unspecified launch failure", "CUDA error: an illegal memory access was encountered"):
        assert why_lost(RuntimeError(text)) and not is_out_of_memory(RuntimeError(text))
    wrapped = EngineError("It failed.")
    wrapped.__cause__ = RuntimeError("HIP error: unspecified launch failure")
    assert why_lost(wrapped)
    for fine in (ValueError("illegal memory access"), RuntimeError("shapes do not fit"), EngineError("out of memory?")):
        assert not why_lost(fine) and not is_out_of_memory(fine)


def test_only_the_last_process_counts(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    for said in ("RuntimeError: CUDA error: out of memory", "INFO all is well"):
        code = "import sys; from pathlib import Path; from trellis_addon.service.main import log_to\n"
        code += "log_to(Path(sys.argv[1])); print(sys.argv[2], file=sys.stderr)"
        subprocess.run([sys.executable, "-c", code, str(log), said], cwd=ROOT, check=True)
    assert "out of memory" in log.read_text()
    assert tail_of(log).strip() == "INFO all is well"


# Out of memory


class Scarce:
    """A device that has room for one resolution, and is full at 0.6 of the work: `tried` is what it went through."""

    def __init__(self, room: int, *, crowded: int = 0) -> None:
        self.room = room
        self.crowded = crowded  # attempts for which others hold its memory
        self.tried: list[Any] = []
        self.shares: list[float] = []
        self.told: list[tuple[str, float]] = []

    def make(self, attempt: Attempt) -> Made:
        self.tried.append(attempt.settings.value("resolution"))
        self.shares.append(attempt.share)
        self.crowded -= 1
        attempt.progress.update("Looking at the image", 0.1)
        attempt.progress.update("Shaping", 0.6)
        if self.crowded >= 0 or attempt.settings.value("resolution") > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        attempt.progress.update("Painting", 0.8)
        attempt.progress.update("Building the mesh", 1.0)
        return Made(b"glTF", facts={"notes": list(attempt.notes)})

    def release(self) -> None:
        self.tried.append("released")

    def run(self, resolution: int, **options: Any) -> Made:
        progress = Progress(lambda *told: self.told.append(told))
        return make_within_memory(self.make, Settings(resolution=resolution), progress, self.release, **options)


def test_out_of_memory_is_answered_by_one_more_try_and_then_the_next_lower_resolution() -> None:
    device = Scarce(1024)
    made = device.run(1536)
    assert device.tried == [1536, "released", 1536, "released", 1024] and device.shares == [1.0, 0.75, 0.75]
    assert made.facts["notes"] == ["Made at 1024 instead of 1536: the device ran out of memory."]
    assert Scarce(1536).run(1536).facts["notes"] == []


def test_one_more_try_suffices_where_others_held_the_memory() -> None:
    device = Scarce(1024, crowded=1)
    assert device.run(1024).facts["notes"] == [], "nothing is made otherwise than asked"
    assert device.tried == [1024, "released", 1024]
    assert "Not enough memory: trying 1024 again" in [stage for stage, _ in device.told]


@pytest.mark.parametrize("room", [0, 512, 1024])
def test_progress_never_falls_and_says_what_is_tried(room: int) -> None:
    device = Scarce(room)
    if room:
        device.run(1024)
    else:
        with pytest.raises(DeviceMemoryError):
            device.run(1024)
    shares = [share for _, share in device.told]
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
    assert (shares[-1] == 1.0) == bool(room)
    stages = list(dict.fromkeys(stage for stage, _ in device.told))
    again = ["Not enough memory: trying 1024 again", "Not enough memory: trying 512"] if room < 1024 else []
    rest = ["Painting", "Building the mesh"] if room else []
    assert stages == ["Looking at the image", "Shaping", *again, *rest]


def test_what_is_tried_can_be_translated_where_it_is_shown() -> None:
    """A stage with its value keeps its template on the way from the worker to the panel."""
    device = Scarce(512)
    device.run(1024)
    stage = next(stage for stage, _ in device.told if stage == "Not enough memory: trying 512")
    slot = Slot(stage=stage)
    item = json.loads(json.dumps({"taskUUID": "u", "status": "processing", **slot.news()}))
    told = read_reply({"data": [item]}, "u").stage
    assert told == stage and told.template == "Not enough memory: trying {resolution}"
    assert translated(told, {told.template: "Zu wenig Speicher: jetzt {resolution}"}.__getitem__).endswith("jetzt 512")
    assert "stageTemplate" not in Slot(stage="Shaping").news()


def test_a_cancelled_attempt_is_not_taken_for_one_without_memory() -> None:
    stopped = threading.Event()

    def fill(attempt: Attempt) -> None:
        assert not attempt.progress.is_cancelled()
        stopped.set()
        raise MemoryError

    progress = Progress(is_cancelled=stopped.is_set)
    with pytest.raises(Cancelled):
        make_within_memory(fill, Settings(resolution=1536), progress, lambda: None)


@pytest.mark.parametrize(
    ("resolution", "may_lower", "tried"),
    [
        (1536, True, [1536, "released", 1536, "released", 1024, "released"]),
        (1024, True, [1024, "released", 1024, "released", 512, "released"]),
        (512, True, [512, "released", 512, "released"]),
        (1536, False, [1536, "released", 1536, "released"]),
    ],
)
def test_when_nothing_suffices_the_cure_is_told(resolution: int, may_lower: bool, tried: list[Any]) -> None:
    device = Scarce(0)
    with pytest.raises(DeviceMemoryError) as caught:
        device.run(resolution, may_lower=may_lower)
    assert device.tried == tried and "close other programs" in sentence(caught.value)
    can_lower = resolution == 1536 and may_lower
    assert ("choose a lower resolution" in str(caught.value)) == can_lower, "only where there is one left"


def test_other_failures_are_not_tried_again() -> None:
    def fail(attempt: Attempt) -> Made:
        raise EngineError("No subject.")

    with pytest.raises(EngineError, match="No subject"):
        make_within_memory(fail, Settings(resolution=1536), Progress(), lambda: pytest.fail("released"))


# Who may talk to whom


@pytest.mark.parametrize(
    ("protocol", "words"), [(PROTOCOL, ""), (PROTOCOL + 1, "newer.*update the add-on here"), (0, "older.*there")]
)
def test_the_handshake_says_which_side_to_update(protocol: int, words: str) -> None:
    about = {"name": SERVICE_NAME, "version": "7.8.9", "protocol": protocol}

    def answer(handler: Any) -> None:
        body = json.dumps(about).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    assert bool(mismatch(about, "It")) == bool(words)
    with local_server(answer) as url:
        if not words:
            with connect(Backend(url)):
                return
        with pytest.raises(ServiceError) as caught, connect(Backend(url)):
            pass
    assert re.search(words, sentence(caught.value)) and "7.8.9" in str(caught.value) and url in str(caught.value)


def test_one_of_before_the_handshake_is_an_old_one_and_strangers_are_not_minded() -> None:
    assert "older" in mismatch({"name": SERVICE_NAME, "version": "0.0.1"}, "It")
    assert not mismatch({}, "It") and not mismatch({"name": "another"}, "It")


def test_a_service_that_has_moved_is_found_with_its_files(tmp_path: Path) -> None:
    """The port was taken meanwhile: the job asks at the new one, also for files that it knew at the old one."""
    first, second = Running(), Running()
    second.engine.gate.set()
    try:
        moved: list[Any] = []

        def find(progress: Progress) -> tuple[str, str]:
            moved.append(progress)
            return f"{second.base}/v1", TOKEN

        with Client(f"{first.base}/v1", TOKEN, remote=False, find=find) as client:
            client.ping()
            assert not moved
            first.close()
            first.thread.join(PATIENCE)
            client.ping()
            assert len(moved) == 1 and client.url == f"{second.base}/v1"
            here = f"{second.base}/files/abc/x.glb"
            assert client._where_now(f"{first.base}/files/abc/x.glb") == here == client._where_now(here)
            assert client._where_now("https://elsewhere.example/x.glb") == "https://elsewhere.example/x.glb"
    finally:
        second.close()


def test_stopping_by_request_only_where_the_add_on_looks_after_it() -> None:
    running = Running()
    try:
        response = running.post({"taskType": "stopService"})
        assert response.status_code == 400 and response.json()["errors"][0]["code"] == "unsupportedTaskType"
    finally:
        running.close()
    stopped = threading.Event()
    running = Running(on_stop=stopped.set)
    try:
        assert running.post({"taskType": "stopService"}).status_code == 200 and stopped.is_set()
    finally:
        running.close()


# What it says


def test_what_a_system_asks_about_who_may_reach_it() -> None:
    assert "Windows Defender Firewall" in about_firewall("win32") and "macOS asks" in about_firewall("darwin")
    assert about_firewall("linux") == ""


def test_what_another_machine_must_enter(tmp_path: Path) -> None:
    told = for_others("192.168.7.3", 8000)
    assert "http://192.168.7.3:8000" in told and "token" in told
    arguments = [sys.executable, "-m", "trellis_addon", "serve", "--host", "0.0.0.0", "--token", TOKEN]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    port = json.loads(process.stdout.readline())["url"].rpartition(":")[2].partition("/")[0]
    line = process.stderr.readline()
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert re.search(rf"http://[\w.-]+:{port}", line) and "0.0.0.0" not in line and TOKEN not in line


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * (2**21 + 1))
    shorten_log(log)
    assert log.stat().st_size == 0 and (tmp_path / "worker.log.1").stat().st_size == 2**21 + 1
    log.write_bytes(b"short")
    shorten_log(log)
    assert log.read_bytes() == b"short"


def test_all_that_a_worker_says_is_in_its_log(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from trellis_addon.service.main import log_to, _set_up_log; import logging\n"
        "log_to(Path(sys.argv[2])); _set_up_log(logging.INFO, 'a-secret-token', anew=True)\n"
        "os.write(2, b'from a library\\n'); logging.getLogger('x').info('it is a-secret-token')\n"
        "import faulthandler; faulthandler._sigsegv()\n"
    )
    log = tmp_path / "logs" / "worker.log"
    result = subprocess.run([sys.executable, "-c", code, str(ROOT), str(log)], capture_output=True, text=True)
    said = log.read_text()
    assert result.returncode != 0 and not result.stderr
    assert "from a library" in said and "a-secret-token" not in said and "(the token)" in said
    assert "Segmentation fault" in said or os.name == "nt"
