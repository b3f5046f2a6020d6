"""The service's page in a real browser: what it does, what it asks for, and what it leaves behind.

    python tests/by_hand/page_browser.py --shots FOLDER [--axe axe.min.js] [--only NAME]

Run by hand: it needs `playwright` (pip) and a Chromium, which `--browser` names (/usr/bin/chromium: Debian's). With
`--axe`, the file of the npm package axe-core, the page is held against WCAG as well. Each test starts a service of its
own; the screenshots are to be looked at. `tools/page_parts.py` must have been run for the assets to be turned.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
from PIL import Image, ImageFilter  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402
from service_tools import TOKEN, Running, png, task  # noqa: E402

from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Made, Order  # noqa: E402
from trellis_addon.formats.glb.write import Material, Mesh, write_glb  # noqa: E402
from trellis_addon.service.content.folder import prepare  # noqa: E402
from trellis_addon.service.page import BUILT  # noqa: E402
from trellis_addon.service.people.caller import PERSON, Caller  # noqa: E402
from trellis_addon.service.people.tokens import add  # noqa: E402

OPTIONS = argparse.Namespace()
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
LANTERN = ROOT / "examples" / "lantern.png"
PATIENCE = 120.0  # seconds
_DROP = """([name, data, view]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const target = document.querySelector(view ? `[data-view="${view}"]` : "#drop");
  for (const kind of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
  }
}"""
_PASTE = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: transfer }));
}"""
_LEFT_BEHIND = """async () => JSON.stringify([
  location.href, document.referrer, document.cookie, { ...localStorage }, { ...sessionStorage },
  await indexedDB.databases(), await caches.keys(), history.state,
])"""
_SCROLL = """async () => {
  const isAtEnd = () => document.documentElement.scrollHeight - scrollY - innerHeight < 5;
  for (let step = 0; step < 1000; step += 1) {
    scrollBy(0, 700);
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 15)));
    for (let wait = 0; isAtEnd() && wait < 50; wait += 1) await new Promise((resolve) => setTimeout(resolve, 100));
    if (isAtEnd()) break;
  }
  return document.querySelectorAll(".card").length;
}"""


class Seen:
    """What a page has asked for and said."""

    def __init__(self, page: Page, base: str) -> None:
        self.base = base
        self.requests: list[Any] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))

    def check(self, *, but: tuple[str, ...] = ()) -> None:
        """Nothing from elsewhere, the token in no address and no referrer, and nothing in the console but `but`."""
        addresses = [request.url for request in self.requests]
        elsewhere = [url for url in addresses if not url.startswith((self.base, "blob:" + self.base, "data:"))]
        assert elsewhere == [], elsewhere
        assert not [url for url in addresses if TOKEN in url]
        referred = [
            (request.url, request.headers["referer"]) for request in self.requests if request.headers.get("referer")
        ]
        assert referred == [], referred
        shown = [line for line in self.said if not any(part in line for part in (*but, "GPU stall", "rAF timed out"))]
        assert shown == [], shown


@contextlib.contextmanager
def service(*arguments: str, port: int = 0, token: str = TOKEN) -> Iterator[tuple[str, int]]:
    """A process as a person starts it; its address and its port."""
    command = [sys.executable, "-m", "trellis_addon", "serve", "--engine", "draft", "--port", str(port), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRELLIS2_SERVICE_TOKEN": token}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"].removesuffix("/v1")
        yield url, int(url.rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def opened(browser: Browser, base: str, **context: Any) -> Iterator[tuple[Page, Seen]]:
    settings = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **context}
    with contextlib.closing(browser.new_context(**settings)) as made:
        page = made.new_page()
        seen = Seen(page, base)
        page.goto(base + "/")
        page.wait_for_selector("#token")
        yield page, seen


def sign_in(page: Page, token: str = TOKEN) -> None:
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#studio:not([hidden])", timeout=PATIENCE * 1000)


def until(page: Page, script: str, seconds: float = PATIENCE) -> Any:
    """Playwright's own waiting for a function is an `eval`, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(script)):
        assert time.monotonic() < end, script
        time.sleep(0.1)
    return found


def shot(page: Page, name: str, **options: Any) -> None:
    page.screenshot(path=str(OPTIONS.shots / f"{name}.png"), timeout=PATIENCE * 1000, **options)


def base64_of(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def photograph() -> bytes:
    """The lantern before a wall that is not plain."""
    noise = np.random.default_rng(3).integers(0, 255, (24, 32, 3), np.uint8)
    ground = Image.fromarray(noise).resize((1024, 768), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(3))
    lantern = Image.open(LANTERN).convert("RGBA").resize((600, 600))
    ground.paste(lantern, (210, 90), lantern)
    buffer = io.BytesIO()
    ground.save(buffer, "PNG")
    return buffer.getvalue()


def quick(page: Page) -> None:
    """A small asset, so that a browser without a graphics card can turn it."""
    page.select_option("#set-resolution", "512")
    page.select_option("#set-texture_size", "1024")
    page.click("#settings summary")
    page.fill("#set-decimation_target", "100000")
    page.click("#settings summary")


def held_against(page: Page, name: str) -> None:
    """The rules of WCAG that can be tried by a program, where axe-core is at hand."""
    if OPTIONS.axe is None:
        return
    page.evaluate(OPTIONS.axe.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    told = [f"{each['id']}: {each['nodes'][0]['html'][:160]} ({len(each['nodes'])})" for each in found]
    assert told == [], f"{name}: {told}"


# --- the tests ---


def a_tour(browser: Browser) -> None:
    """Sign in, drop, watch, turn, download; then the token, the network and the console are looked at."""
    with service() as (base, _), opened(browser, base, accept_downloads=True) as (page, seen):
        held_against(page, "sign in")
        shot(page, "1280-sign-in")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('sign-in-problem').textContent")
        sign_in(page)
        page.evaluate(_DROP, ["lantern.png", base64_of(LANTERN.read_bytes()), ""])
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        quick(page)
        shot(page, "1280-compose")
        page.click("#generate")
        page.wait_for_selector(".card[data-status=success]", timeout=PATIENCE * 1000)
        until(page, "document.querySelector('.card img').src.startsWith('blob:')")
        page.click(".card .open")
        if (BUILT / "model-viewer.min.js").exists():
            page.wait_for_selector("model-viewer", timeout=PATIENCE * 1000)
            until(page, "document.querySelector('model-viewer').loaded && !document.querySelector('.stand > img')")
            before = page.evaluate("document.querySelector('model-viewer').getCameraOrbit().toString()")
            page.focus("model-viewer")
            page.evaluate("document.querySelector('model-viewer').shadowRoot.querySelector('.userInput').focus()")
            page.keyboard.press("ArrowLeft")
            script = "document.querySelector('model-viewer').getCameraOrbit().toString()"
            until(page, f"{script} !== {json.dumps(before)}")
        shot(page, "1280-task")
        with page.expect_download() as download:
            page.click(".result a.primary")
        path = Path(download.value.path())
        assert download.value.suggested_filename.endswith(".glb") and path.read_bytes().startswith(b"glTF")
        held_against(page, "task")
        page.click("#task .quiet[aria-label]")
        held_against(page, "gallery")
        assert TOKEN not in page.evaluate(_LEFT_BEHIND) and page.context.cookies() == []
        left = json.loads(page.evaluate(_LEFT_BEHIND))
        assert left == [base + "/", "", "", {}, {}, [], [], None], left
        seen.check(but=("401 (Unauthorized)",))


def rough_shapes(browser: Browser) -> None:
    """Three of them to choose from; two go on, each in a task of its own with its seed."""
    with service() as (base, _), opened(browser, base) as (page, seen):
        sign_in(page)
        page.evaluate(_DROP, ["lantern.png", base64_of(LANTERN.read_bytes()), ""])
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        quick(page)
        page.check("#set-rough")
        page.fill("#set-number_results", "3")
        page.fill("#set-seed", "11")
        page.click("#generate")
        page.wait_for_selector(".card[data-status=success]", timeout=PATIENCE * 1000)
        page.click(".card .open")
        until(page, "document.querySelectorAll('.go-on:enabled').length === 3")
        until(
            page,
            "document.querySelectorAll('.stand').length === 3 && !document.querySelector('.stand > img:not([src])')",
        )
        shot(page, "1280-rough-shapes")
        assert page.locator(".actions details").count() == 0, "a rough shape is not finished again"
        held_against(page, "rough shapes")
        for which in (2, 0):
            page.locator(".go-on").nth(which).click()
            until(page, f"document.querySelectorAll('.go-on')[{which}].textContent === 'On its way'")
        page.click("#task .quiet[aria-label]")
        until(page, "document.querySelectorAll('.card[data-status=success]').length === 3")
        own = page.evaluate(
            "async (token) => (await (await fetch('/page/tasks', { headers: { Authorization: 'Bearer ' + token } }))"
            ".json()).tasks.map((task) => [task.settings.rough ?? false, task.results.map((result) => result.seed)])",
            TOKEN,
        )
        assert own == [[False, ["11"]], [False, ["13"]], [True, ["11", "12", "13"]]], own
        seen.check()


def a_photograph(browser: Browser) -> None:
    """Refused as it is; marked by the mouse, by keys, and sent with three more views, by drop, paste and file."""
    with service() as (base, _), opened(browser, base) as (page, seen):
        sign_in(page)
        page.evaluate(_DROP, ["photo.png", base64_of(photograph()), ""])
        page.wait_for_selector(".slot .problem", timeout=PATIENCE * 1000)
        assert page.is_disabled("#generate")
        page.click("figure.slot .row button")
        until(page, "document.querySelector('#marking .box:not([hidden])') !== null")
        place = page.locator("#marking .stage img").bounding_box()
        assert place is not None
        page.mouse.move(place["x"] + place["width"] * 0.24, place["y"] + place["height"] * 0.1)
        page.mouse.down()
        page.mouse.move(place["x"] + place["width"] * 0.76, place["y"] + place["height"] * 0.92, steps=4)
        page.mouse.up()
        page.focus("#marking .box")
        left = int(page.input_value("#edge-left"))
        page.keyboard.press("ArrowRight")
        assert int(page.input_value("#edge-left")) > left
        page.keyboard.press("ArrowLeft")
        held_against(page, "marking")
        shot(page, "1280-marking")
        page.click("#marking button.primary")
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        page.evaluate(_DROP, ["back.png", base64_of(LANTERN.read_bytes()), "back"])
        page.set_input_files(".slot[data-view=left] input", str(LANTERN))
        until(page, "document.querySelectorAll('figure.slot').length === 3")
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        page.evaluate(_PASTE, ["another.png", base64_of(LANTERN.read_bytes())])
        until(page, "document.querySelectorAll('.item').length === 2")
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        quick(page)
        page.click("#generate")
        until(page, "document.querySelectorAll('.card').length === 2")
        until(page, "document.querySelectorAll('.card[data-status=success]').length === 2")
        page.click(".card:last-child .open")
        until(page, "document.querySelectorAll('.pictures img[src^=blob]').length === 3")
        page.click(".actions button >> nth=1")
        until(page, "document.querySelectorAll('.card').length === 3")
        shot(page, "1280-views")
        seen.check(but=("400 (Bad Request)",))


def a_token_taken_away(browser: Browser) -> None:
    """Whoever is signed in with a token that counts no more is out, and nothing of what was shown is left."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        base, port = first.enter_context(service())
        page, _ = stack.enter_context(opened(browser, base))
        sign_in(page)
        page.evaluate(_DROP, ["lantern.png", base64_of(LANTERN.read_bytes()), ""])
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        quick(page)
        page.click("#generate")
        page.wait_for_selector(".card", timeout=PATIENCE * 1000)
        first.close()
        until(page, "!document.getElementById('trouble').hidden")
        stack.enter_context(service(port=port, token="another-token-of-this-service"))
        page.wait_for_selector("#entrance:not([hidden])", timeout=PATIENCE * 1000)
        assert page.inner_text("#sign-in-problem") and page.locator(".card").count() == 0
        assert page.input_value("#token") == ""


def an_administrator(browser: Browser) -> None:
    """Pauses the row, sees who waits, and takes a person's token away, who is out at once."""
    with tempfile.TemporaryDirectory() as folder:
        key = add(prepare(Path(folder) / "service"), Caller(name="Ann", role=PERSON))
        with contextlib.ExitStack() as stack:
            base, _ = stack.enter_context(service("--folder", str(Path(folder) / "service")))
            page, seen = stack.enter_context(opened(browser, base))
            ann, _ = stack.enter_context(opened(browser, base))
            sign_in(page)
            page.click("#show-service")
            page.click("[data-act=pause]")
            page.wait_for_selector("[data-act=resume]")
            sign_in(ann, key)
            ann.click("#show-service")
            assert ann.locator("#office button").count() == 0, "no more than her own"
            ann.set_input_files("#files", str(LANTERN))
            ann.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
            quick(ann)
            ann.click("#generate")
            ann.wait_for_selector(".card[data-status=waiting]", timeout=PATIENCE * 1000)
            page.wait_for_selector("[data-act='cancel-Ann']", timeout=PATIENCE * 1000)
            page.wait_for_selector(".card[data-status=waiting]", timeout=PATIENCE * 1000)
            held_against(page, "administration")
            shot(page, "1280-administration")
            page.on("dialog", lambda dialog: dialog.accept())
            page.click("[data-act='cancel-Ann']")
            ann.wait_for_selector(".card[data-status=cancelled]", timeout=PATIENCE * 1000)
            page.click("[data-act='revoke-Ann']")
            ann.wait_for_selector("#entrance:not([hidden])", timeout=PATIENCE * 1000)
            assert ann.inner_text("#sign-in-problem") and ann.locator(".card").count() == 0
            page.click("[data-act=resume]")
            page.wait_for_selector("[data-act=pause]")
            seen.check()


def by_keys_alone(browser: Browser) -> None:
    """Every control is reached by Tab, in the order in which it stands; a card opens by Enter and closes by Escape."""
    with service() as (base, _), opened(browser, base) as (page, seen):
        sign_in(page)
        page.set_input_files("#files", str(LANTERN))
        page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
        quick(page)
        page.focus("#choose")
        reached = []
        for _ in range(40):
            reached.append(page.evaluate("document.activeElement.id"))
            if reached[-1] == "generate":
                break
            page.keyboard.press("Tab")
        assert reached[-1] == "generate" and "set-resolution" in reached, reached
        page.keyboard.press("Enter")
        page.wait_for_selector(".card[data-status=success]", timeout=PATIENCE * 1000)
        page.focus(".card .open")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('task').open")
        assert page.url.partition("#")[2].startswith("task=")
        page.keyboard.press("Escape")
        until(page, "!document.getElementById('task').open")
        until(page, "location.href === location.origin + '/'")
        seen.check()


def in_other_languages(browser: Browser) -> None:
    with service() as (base, _):
        for locale, words in (("de-DE", "Abbrechen"), ("zh-CN", "取消")):
            with opened(browser, base, locale=locale) as (page, _):
                assert page.evaluate("document.documentElement.lang") == {"de-DE": "de", "zh-CN": "zh-Hans"}[locale]
                sign_in(page)
                page.set_input_files("#files", str(LANTERN))
                page.wait_for_selector("figure.slot img", timeout=PATIENCE * 1000)
                page.click("figure.slot button")
                until(page, "document.getElementById('marking').open")
                assert words in page.inner_text("#marking")
                page.keyboard.press("Escape")
                shot(page, f"1280-{locale}")


def _many(run: Running, count: int) -> None:
    corners = np.array([[-1, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 1]], np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.uint32))
    made = Made(write_glb(mesh, Material(), {}))

    def generate(order: Order, progress: Progress) -> Made:
        progress.update("Shaping", 0.5)
        return made

    run.engine.generate = generate  # type: ignore[method-assign]
    picture = "data:image/png;base64," + base64_of(png(96))
    while count > 0:
        sent = [task(inputs={"image": picture}) for _ in range(min(50, count))]
        run.post(*sent)
        for each in sent:
            run.settle(each["taskUUID"], 60)
        count -= len(sent)


def a_thousand_tasks(browser: Browser) -> None:
    """They scroll to the end without a stall of more than a tenth of a second of the page's own work."""
    run = Running(page=True)
    with contextlib.closing(run):
        _many(run, 1000)
        with opened(browser, run.base) as (page, _):
            sign_in(page)
            browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline", "__metadata"])
            cards = page.evaluate(_SCROLL)
            longest, count = _stalls(json.loads(browser.stop_tracing()))
            print(f"  {cards} cards; of {count} tasks of the page's thread the longest took {longest:.0f} ms")
            assert cards == 1000 and count > 1000 and longest < 100, (cards, count, longest)


def _stalls(trace: dict[str, Any]) -> tuple[float, int]:
    """How long the page's thread worked at its longest task, in ms of the processor's time, and how many there were."""
    events = trace["traceEvents"]
    threads = {
        (each["pid"], each["tid"])
        for each in events
        if each.get("name") == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        each["tdur"] / 1000
        for each in events
        if each.get("name", "").endswith("RunTask") and (each["pid"], each["tid"]) in threads and "tdur" in each
    ]
    return max(tasks, default=0.0), len(tasks)


def at_all_sizes(browser: Browser) -> None:
    with service() as (base, _):
        with opened(browser, base) as (page, _):
            sign_in(page)
            for count in (1, 2, 1, 1, 3):
                page.set_input_files("#files", str(LANTERN))
                page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
                page.select_option("#set-resolution", "512")
                page.select_option("#set-texture_size", "1024")
                page.fill("#set-number_results", str(count))
                page.click("#generate")
                page.wait_for_selector("#generate:disabled", timeout=PATIENCE * 1000)
            until(page, "document.querySelectorAll('.card[data-status=success]').length === 5")
        for width, height, options in (
            (390, 844, {"is_mobile": True, "has_touch": True, "device_scale_factor": 2}),
            (1280, 900, {}),
            (2560, 1440, {}),
        ):
            for scheme in ("light", "dark"):
                size = {"width": width, "height": height}
                with opened(browser, base, viewport=size, color_scheme=scheme, **options) as (page, _):
                    sign_in(page)
                    page.set_input_files("#files", str(LANTERN))
                    page.wait_for_selector("#generate:enabled", timeout=PATIENCE * 1000)
                    until(page, "document.querySelectorAll('.card img[src^=blob]').length >= 1")
                    time.sleep(1)
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, f"{width}: {wide} pixels wide"
                    held_against(page, f"{width} {scheme}")
                    shot(page, f"{width}-{scheme}")
                    if width == 390:
                        shot(page, f"{width}-{scheme}-whole", full_page=True)
                    page.locator(".card .open").first.click()
                    until(page, "document.querySelectorAll('.stand model-viewer, .stand .fine').length >= 1")
                    with contextlib.suppress(AssertionError):
                        until(page, "[...document.querySelectorAll('model-viewer')].every((each) => each.loaded)", 30)
                    shot(page, f"{width}-{scheme}-task")


TESTS: tuple[Callable[[Browser], None], ...] = (
    a_tour,
    rough_shapes,
    a_photograph,
    a_token_taken_away,
    an_administrator,
    by_keys_alone,
    in_other_languages,
    a_thousand_tasks,
    at_all_sizes,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=Path, required=True, metavar="FOLDER", help="where the screenshots go")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js, out of the npm package axe-core")
    parser.add_argument("--browser", default="/usr/bin/chromium", help="the browser (default: Debian's Chromium)")
    parser.add_argument("--only", default="", help="the tests whose names contain this")
    parser.parse_args(namespace=OPTIONS)
    OPTIONS.shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=OPTIONS.browser, args=FLAGS)
        for test in TESTS:
            if OPTIONS.only not in test.__name__:
                continue
            try:
                test(browser)
                print(f"{test.__name__}: good", flush=True)
            except Exception as error:
                failed += 1
                print(f"{test.__name__}: FAILED: {type(error).__name__}: {str(error)[:1500]}", flush=True)
                traceback.print_tb(error.__traceback__, -1)
        browser.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
