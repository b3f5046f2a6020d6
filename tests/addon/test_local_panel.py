"""The local backend in the preferences and the panel: what is shown, what the buttons do, and what ends with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import PATIENCE

bpy = pytest.importorskip("bpy")

from test_extension import NAME, extension, load, part  # noqa: E402, F401

GB = 10**9


@pytest.fixture
def preferences(extension: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: F811
    """The extension's preferences, with a fresh folder for the local backend."""
    for name in ("TRELLIS2_LOCAL", "TRELLIS2_PYTHON", "TRELLIS2_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    addon = bpy.context.preferences.addons.new()
    addon.module = NAME
    addon.preferences.local_folder = str(tmp_path / "chosen")
    yield addon.preferences
    bpy.context.preferences.addons.remove(addon)


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], bool]], None]:
    """As if there were one: works go on in threads. Returns what pumps until a condition holds."""
    work, setup, pump = (
        part(f"trellis_addon.scene.{name}") for name in ("setup.local_work", "setup.local_setup", "pump")
    )
    app = SimpleNamespace(background=False, online_access=True, timers=bpy.app.timers)
    for module in (work, setup):
        monkeypatch.setattr(module, "bpy", SimpleNamespace(app=app, context=bpy.context))

    def until(holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < give_up, "it did not come to be"
            pump.pump()
            time.sleep(0.01)

    return until


def words(lines: list[tuple[str, str]]) -> str:
    return "; ".join(text for text, _ in lines)


def card(**values: Any) -> Any:
    kept = {"name": "NVIDIA GeForce RTX 4090", "kind": "nvidia", "total": 24 * 2**30, "free": 20 * 2**30}
    return part("trellis_addon.local.machine.hardware").Card(
        **{**kept, "driver": "580.65.06", "capability": "8.9", **values}
    )


def machine(*cards: Any) -> Any:
    return part("trellis_addon.local.machine.hardware").Machine("linux", "x86_64", cards, 64 * 2**30, 50 * 2**30)


# --- one work at a time ---


def test_a_work_reports_and_is_cancelled(preferences: Any, window: Callable[..., None]) -> None:
    work, errors = part("trellis_addon.scene.setup.local_work"), part("trellis_addon.core.errors")
    gate, results, ends = threading.Event(), [], []

    def slow(progress: Any) -> str:
        progress.update("Downloading 1.2 of 2.9 GB, 38 MB/s, 40 s left", 0.4)
        while not gate.wait(0.01):
            progress.check()
        return "there"

    work.start("install", slow, results.append, ended=lambda: ends.append(1))
    window(lambda: work.current().share == 0.4)
    assert work.is_running() and work.is_running("install") and not work.is_running("weights")
    gate.set()
    window(lambda: not work.is_running())
    assert work.current().state == "done" and results == ["there"] and ends == [1]

    gate.clear()
    work.start("install", slow, results.append, ended=lambda: ends.append(2))
    work.cancel()
    assert work.current().is_stopping
    window(lambda: not work.is_running())
    assert work.current().state == "cancelled" and results == ["there"] and ends == [1, 2]

    def refuse(progress: Any) -> None:
        raise errors.EngineError("The disk is full; free some.")

    work.start("weights", refuse)
    window(lambda: not work.is_running())
    assert (work.current().state, work.current().message) == ("failed", "The disk is full; free some.")


def test_without_a_window_the_work_is_done_at_once_and_its_error_is_raised(preferences: Any) -> None:
    work, errors = part("trellis_addon.scene.setup.local_work"), part("trellis_addon.core.errors")
    results: list[int] = []
    work.start("install", lambda progress: 7, results.append)
    assert results == [7] and work.current() is None

    def refuse(progress: Any) -> None:
        raise errors.EngineError("No.")

    with pytest.raises(errors.EngineError):
        work.start("install", refuse)


def test_disabling_breaks_an_installation_off(clean: object, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    module.register()
    work = part("trellis_addon.scene.setup.local_work")
    monkeypatch.setattr(work, "bpy", SimpleNamespace(app=SimpleNamespace(background=False)))
    seen: list[str] = []

    def slow(progress: Any) -> None:
        try:
            while True:
                progress.update("Installing", 0.5)
                time.sleep(0.01)
        finally:
            time.sleep(0.2)  # what it started needs a moment to end
            seen.append("tools put down")

    work.start("install", slow)
    module.unregister()
    assert seen == ["tools put down"], "disabling waits for that"
    assert work.current() is None and not bpy.app.timers.is_registered(part("trellis_addon.scene.pump").pump)
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


# --- preferences ---


def test_the_folder_is_the_library_s_until_the_extension_goes(
    preferences: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, variable = part("trellis_addon.runtime.layout"), part("addon.variables").LOCAL_FOLDER
    assert layout.local_folder().root == tmp_path / "chosen" and not variable.is_given()
    preferences.local_folder = ""
    assert "TRELLIS2_LOCAL" not in os.environ
    assert layout.local_folder().root == part("trellis_addon.core.folders").default_folder() / "local"
    monkeypatch.setenv("TRELLIS2_LOCAL", str(tmp_path / "studio"))
    preferences.local_folder = str(tmp_path / "chosen")
    assert variable.is_given() and layout.local_folder().root == tmp_path / "studio"


def test_choices_are_plain_data(preferences: Any, tmp_path: Path) -> None:
    choices = part("addon.local_properties").choices
    found = choices(preferences)
    assert (found.build, found.wheels, found.resolutions, found.source) == ("auto", None, (512, 1024), "")
    preferences.local_source, preferences.local_mirror = "MIRROR", " http://files.studio/trellis2 "
    preferences.local_wheels, preferences.local_resolutions = str(tmp_path), {"1536"}
    found = choices(preferences)
    assert (found.wheels, found.resolutions, found.source) == (tmp_path, (1536,), "http://files.studio/trellis2")


def test_the_panel_leads_to_the_page_of_what_is_chosen(preferences: Any) -> None:
    state = bpy.context.scene.trellis2
    for backend, page in (("remote", "REMOTE"), ("service", "SERVICE"), ("local", "LOCAL")):
        state.backend = backend
        with contextlib.suppress(RuntimeError):  # there is no window to show it in
            bpy.ops.trellis2.preferences()
        assert preferences.page == page


# --- what is shown ---


def test_the_computer_is_told_in_words(preferences: Any) -> None:
    words_of, setup = part("addon.local_words"), part("trellis_addon.scene.setup.local_setup")
    plan = SimpleNamespace(build=SimpleNamespace(reason="It works with CUDA 13."), download=29 * GB // 10, disk=7 * GB)
    found = SimpleNamespace(
        machine=machine(card()), plan=plan, state=None, own_python="", free=412 * GB, to_fetch=16 * GB, is_ready=False
    )
    told = words(words_of.computer_lines(found))
    assert "NVIDIA GeForce RTX 4090, 20 of 24 GB of memory free, driver 580.65.06; It works with CUDA 13." in told
    assert "412 GB free on the disk" in told
    found.machine = machine()
    assert words(words_of.computer_lines(found)).startswith("No graphics card for this: it will run on the processor")
    assert "Downloads 2.9 GB from the package index and 16.0 GB of weights, and takes 23.0 GB of disk" in (
        words_of.needs_words(found, False)
    )
    assert "package index" not in words_of.needs_words(found, True)
    assert setup.known() is None
    assert words_of.room_words(found) == ""
    found.free = 20 * GB
    assert words_of.room_words(found).startswith("It needs 23.0 GB, and 20.0 GB are free")
    found.is_ready, found.own_python = True, "/opt/python"
    assert words_of.room_words(found) == "" and "/opt/python" in words(words_of.computer_lines(found))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("", "Beginning"),
        ("Making the environment", "Making the Environment"),
        ("Downloading 1.2 of 2.9 GB, 38 MB/s, 6 min left", "Downloading: 1.2 of 2.9 GB, 38 MB a second, 6 min left"),
        ("Downloading 1.2 of 2.9 GB", "Downloading: 1.2 of 2.9 GB"),
        ("Copying 1 of 3 MB", "Copying: 1 of 3 MB"),
        ("Waiting for something new", "Waiting for something new"),
    ],
)
def test_the_library_s_stages_are_told_in_words(preferences: Any, stage: str, expected: str) -> None:
    assert part("addon.local_words").step_words(stage) == expected


def test_the_stages_are_those_that_the_library_reports(preferences: Any) -> None:
    board = part("trellis_addon.transfer.board").Board([2_000_000], "Downloading")
    board.rows[0].done = 500_000
    assert part("addon.local_words").step_words(board.report()[0]).startswith("Downloading: ")


def test_durations_and_sizes_are_short(preferences: Any) -> None:
    words_of = part("addon.local_words")
    assert words_of.duration_range(24, 26) == "25 s"
    assert words_of.duration_range(20, 200) == "20 s to 3 min"
    assert words_of.duration_range(3600, 18000) == "60 min to 5 h"
    assert [words_of.size_words(size) for size in (512, 97_000, 38e6, 2.61e9, 412e9)] == [
        "512 B",
        "97 kB",
        "38 MB",
        "2.6 GB",
        "412 GB",
    ]


def test_the_worker_is_told_in_words(preferences: Any) -> None:
    words_of, status = part("addon.local_words"), part("trellis_addon.client.local_service").WorkerStatus
    assert "starts by itself" in words(words_of.worker_words(None))
    running = status("running", device="NVIDIA H200", version="0.1.0", since=time.time())
    told = words(words_of.worker_words(running))
    assert "NVIDIA H200" in told and "version 0.1.0" in told and words_of.worker_state(running)[0] == "Worker running"
    again = status("running", device="auto", cause="it was killed for want of memory", restarts=1)
    assert "auto" not in words(words_of.worker_words(again)) and "killed" in words(words_of.worker_words(again))
    failed = status("failed", cause="The local worker ended 6 times in a row.")
    assert "6 times" in words_of.worker_state(failed)[0] and words_of.worker_state(failed)[1] == "ERROR"


# --- the N-panel ---


def test_the_panel_leads_to_the_wizard_until_it_is_set_up(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = part("addon.backend_state")
    monkeypatch.setattr(backend, "trellis2_available", lambda: False)
    backend._available.cache_clear()
    (line,) = backend.state_lines("local")
    assert (line.operator, line.label) == ("trellis2.preferences", "Set Up...")

    work = part("trellis_addon.scene.setup.local_work")
    monkeypatch.setattr(work._current, "work", work.Work("install", share=0.43))
    assert backend.state_lines("local")[0].text == "Being set up: 43%"
    backend._available.cache_clear()


def test_the_estimate_stands_beside_generate(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, device = part("addon.backend_state"), part("trellis_addon.scene.device")
    state = bpy.context.scene.trellis2
    monkeypatch.setattr(backend, "trellis2_available", lambda: True)
    backend._available.cache_clear()
    for choice in ("draft", "remote", "service", "local"):
        state.backend = choice
        assert backend.expectations(state) == [], "nobody has asked yet, or it is not for this computer"

    holders = (part("trellis_addon.local.machine.gpu_memory").Holder(os.getpid(), "blender", 15 * 2**30),)
    state.settings.resolution = "1024"
    monkeypatch.setattr(device._kept, "known", device.DeviceFacts(machine(card())))
    (line,) = backend.expectations(state)
    assert line.text.startswith("About ") and "of 24 GB" in line.text and "a first guess" in line.text

    state.settings.resolution = "1536"
    monkeypatch.setattr(device._kept, "known", device.DeviceFacts(machine(card(total=6 * 2**30, free=5 * 2**30))))
    _, warning = (line.text for line in backend.expectations(state))
    assert "1536 usually needs" in warning and "will be made" in warning

    full = card(free=4 * 2**30)
    monkeypatch.setattr(device._kept, "known", device.DeviceFacts(machine(full), holders))
    assert "Blender holds" in backend.expectations(state)[1].text

    run = part("trellis_addon.local.runs").PastRun
    settings = part("trellis_addon.task.settings").Settings(resolution=1024)
    runs = tuple(run("microsoft:trellis-2@4b", "NVIDIA GeForce RTX 4090", settings, 30.0) for _ in range(4))
    state.settings.resolution = "1024"
    monkeypatch.setattr(device._kept, "known", device.DeviceFacts(machine(card()), (), runs))
    assert "learned from 4 runs" in backend.expectations(state)[0].text
    state.settings.seed = "no number"
    assert backend.expectations(state) == [], "pressing the button says what is wrong"
    backend._available.cache_clear()


def test_what_a_generation_took_is_learned(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device, queue = part("trellis_addon.scene.device"), part("trellis_addon.scene.queue")
    asked: list[int] = []
    monkeypatch.setattr(device, "ask_later", lambda: asked.append(1))
    generation = queue.Generation("one", None)
    queue.update(generation, state="done")
    assert not asked, "nobody has ever asked for the device"
    monkeypatch.setattr(device._kept, "known", device.DeviceFacts(machine()))
    queue.update(generation, state="done")
    assert asked == [1]


# --- the buttons, with the library ---


def test_buttons_say_why_they_cannot_be_pressed(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work = part("trellis_addon.scene.setup.local_work")
    if not bpy.app.online_access:
        for name in ("local_install", "local_weights"):
            with pytest.raises(RuntimeError, match="Online access is off"):
                getattr(bpy.ops.trellis2, name)()
    preferences.local_source, preferences.local_wheels = "FOLDER", "/somewhere"
    for name in ("local_install", "local_weights"):
        with pytest.raises(RuntimeError, match="terms of DINOv3"):
            getattr(bpy.ops.trellis2, name)()
    for name, words_ in (("local_copy_report", "no report yet"), ("worker_stop", "does not run")):
        with pytest.raises(RuntimeError, match=words_):
            getattr(bpy.ops.trellis2, name)()
    monkeypatch.setattr(work._current, "work", work.Work("install"))
    for name in ("local_install", "local_weights", "local_remove", "local_doctor", "worker_start", "local_look"):
        with pytest.raises(RuntimeError, match="already"):
            getattr(bpy.ops.trellis2, name)()
    assert bpy.ops.trellis2.local_cancel() == {"FINISHED"} and work.current().is_stopping


def test_licences_are_opened_and_nothing_else(preferences: Any) -> None:
    assert bpy.ops.trellis2.local_licence(address="file:///etc/passwd") == {"CANCELLED"}


def small_weights(folder: Path) -> Path:
    """Files in the layout of the weights, with nothing in them, and the list that makes a folder a mirror."""
    manifest, lists = part("trellis_addon.weights.manifest"), part("trellis_addon.weights.published")
    for key in lists.needed((512,)):
        for file in lists.group_of(key).variants[0]:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            head = json.dumps({"__metadata__": {"path": file.path}}).encode()
            is_model = path.suffix == ".safetensors"
            path.write_bytes(struct.pack("<Q", len(head)) + head if is_model else b'{"name": "none"}')
    manifest.write_manifest(folder, manifest.make_manifest(folder, "Small Weights"))
    return folder


def test_weights_are_fetched_listed_and_removed_by_buttons(preferences: Any, tmp_path: Path) -> None:
    setup = part("trellis_addon.scene.setup.local_setup")
    preferences.local_source, preferences.local_copy = "FOLDER", str(small_weights(tmp_path / "copy"))
    preferences.local_resolutions = {"512"}
    assert bpy.ops.trellis2.local_look() == {"FINISHED"}
    found = setup.known()
    assert found.terms.startswith("https://ai.meta.com/") and not found.has_weights and not found.is_ready
    assert found.to_fetch > 5 * GB and found.free > 0 and found.used == 0
    with pytest.raises(RuntimeError, match="terms of DINOv3"):
        bpy.ops.trellis2.local_weights()

    preferences.accept_dinov3 = True
    assert bpy.ops.trellis2.local_weights() == {"FINISHED"}
    found = setup.known()
    assert found.has_weights and not found.terms and found.to_fetch == 0
    assert found.origins == (str(tmp_path / "copy"),) and found.credits == ("Built with DINOv3",)
    states = {line.group: line.state for line in found.weights}
    assert states["texture_512"] == "complete" and states["texture_1024"] == "missing"
    preferences.accept_dinov3 = False  # it was accepted, for this folder, once and for all
    preferences.local_resolutions = {"1024"}
    bpy.ops.trellis2.local_look()
    assert not setup.known().terms and not setup.known().has_weights
    with pytest.raises(RuntimeError, match="shape_1024|1024"):
        bpy.ops.trellis2.local_weights()  # the copy has none of them

    preferences.local_resolutions = {"512"}
    assert bpy.ops.trellis2.local_remove_weights(group="texture_512") == {"FINISHED"}
    assert {line.group: line.state for line in setup.known().weights}["texture_512"] == "missing"
    assert not setup.known().has_weights


def test_packages_that_are_not_those_of_this_version_are_told(preferences: Any) -> None:
    folder, setup = part("trellis_addon.runtime.layout").local_folder(), part("trellis_addon.scene.setup.local_setup")
    folder.write_state(dataclasses.replace(folder.claim(), complete=True, build="cpu", lock="of another version"))
    folder.python.parent.mkdir(parents=True)
    folder.python.touch()
    bpy.ops.trellis2.local_look()
    assert setup.known().is_ready and setup.known().is_outdated
    preferences.local_python = str(folder.python)
    bpy.ops.trellis2.local_look()
    assert setup.known().own_python == str(folder.python)


def test_everything_is_removed_and_nothing_else(preferences: Any, tmp_path: Path) -> None:
    layout, setup = part("trellis_addon.runtime.layout"), part("trellis_addon.scene.setup.local_setup")
    with pytest.raises(RuntimeError, match="Nothing is installed"):
        bpy.ops.trellis2.local_remove()
    folder = layout.local_folder()
    folder.claim()
    for place in (folder.env / "bin", folder.weights, folder.root / "somebody's"):
        place.mkdir(parents=True)
        (place / "file").write_bytes(bytes(1000))
    bpy.ops.trellis2.local_look()
    assert setup.known().used == 2000 and setup.known().state is not None
    assert bpy.ops.trellis2.local_remove(keep_weights=True) == {"FINISHED"}
    assert setup.freed() == 1000 and (folder.weights / "file").is_file() and setup.known().used == 1000
    assert bpy.ops.trellis2.local_remove() == {"FINISHED"}
    assert setup.known().state is None and [path.name for path in folder.root.iterdir()] == ["somebody's"]


def test_an_installation_that_cannot_be_done_is_told_and_leaves_nothing(preferences: Any, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    preferences.local_wheels, preferences.local_build = str(wheels), "cpu"
    preferences.accept_dinov3 = True
    with pytest.raises(RuntimeError, match=f"{re.escape(str(wheels))} has no .*put it there"):
        bpy.ops.trellis2.local_install(weights=False)
    assert not (tmp_path / "chosen").exists()


def test_weights_that_cannot_be_had_are_told_and_leave_nothing(preferences: Any, tmp_path: Path) -> None:
    preferences.local_source, preferences.local_copy = "FOLDER", str(tmp_path / "nowhere")
    preferences.accept_dinov3 = True
    with pytest.raises(RuntimeError, match="nowhere"):
        bpy.ops.trellis2.local_weights()
    assert not (tmp_path / "chosen" / "weights" / "pipeline.json").exists()


def test_the_doctor_examines_and_its_report_is_copied(preferences: Any) -> None:
    setup = part("trellis_addon.scene.setup.local_setup")
    assert bpy.ops.trellis2.local_doctor(selftest=False) == {"FINISHED"}
    report = setup.report()
    assert "TRELLIS.2 for Blender" in str(report) and report.problems, "nothing is installed"
    assert bpy.ops.trellis2.local_copy_report() == {"FINISHED"}


# --- with a window ---


def test_a_look_in_a_thread_reaches_the_preferences_and_the_newest_counts(
    preferences: Any, window: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, choices = part("trellis_addon.scene.setup.local_setup"), part("addon.local_properties").choices
    real, gate = setup.look, threading.Event()

    def held(chosen: Any) -> Any:
        gate.wait(PATIENCE)
        return real(chosen)

    monkeypatch.setattr(setup, "look", held)
    setup.look_later(choices(preferences))
    monkeypatch.setattr(setup, "look", real)
    preferences.local_resolutions = {"512"}
    setup.look_later(choices(preferences))
    window(lambda: setup.known() is not None)
    gate.set()
    window(lambda: part("trellis_addon.scene.pump").threads_at_work() == 0)
    assert not setup.is_looking()
    assert {line.group: line.is_needed for line in setup.known().weights}["texture_1024"] is False


def test_weights_in_a_thread_are_shown_when_they_are_there(
    preferences: Any, window: Callable[..., None], tmp_path: Path
) -> None:
    setup, work = part("trellis_addon.scene.setup.local_setup"), part("trellis_addon.scene.setup.local_work")
    preferences.local_source, preferences.local_copy = "FOLDER", str(small_weights(tmp_path / "copy"))
    preferences.local_resolutions, preferences.accept_dinov3 = {"512"}, True
    assert bpy.ops.trellis2.local_weights() == {"FINISHED"}
    window(lambda: setup.known() is not None and setup.known().has_weights)
    assert work.current("weights").state == "done"
