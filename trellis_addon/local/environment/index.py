"""Where wheels lie: found by their names in package indexes (PEP 503, PEP 691), pages of links, and folders."""

from __future__ import annotations

import html.parser
import re
import threading
import time
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.addresses import is_file_address, path_of_address, without_login
from ...core.errors import Cancelled, EngineError
from ...core.messages import message
from ...core.progress import Progress
from ...transfer.errors import PASSING, BrokenOff, DownloadError
from ...transfer.failures import explain, is_lasting, short
from .builds import TorchBuild
from .default_index import default_index
from .lock import Wanted, Wheel, best_wheel
from .pip_settings import PipSettings
from .python import Python

if TYPE_CHECKING:
    import httpx

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_AT_ONCE = 8
_BEAT = 0.1  # seconds between two looks whether to stop
_PAUSES = (0.5, 1.5)  # seconds before asking again what did not answer
_LONGEST = 120.0  # seconds that such a page may take to arrive
_MOST = 64 * 2**20  # bytes of an index page; the longest are some megabytes


@dataclass(frozen=True)
class FoundWheel:
    """A wheel's place: `path` where it lies on this machine, else `url`."""

    wheel: Wheel
    url: str = ""
    path: Path | None = None


@dataclass
class Finder:
    """Finds wheels. `folder` makes it look there and nowhere else; `client` is for the web."""

    settings: PipSettings
    client: httpx.Client | None
    folder: Path | None = None
    _pages: dict[str, list[FoundWheel]] = field(default_factory=dict)
    _dead: dict[str, EngineError] = field(default_factory=dict)  # hosts that do not answer
    _is_over: threading.Event = field(default_factory=threading.Event)  # nobody waits for what is being asked

    def find_all(
        self, wanted: Sequence[Wanted], python: Python, build: TorchBuild, progress: Progress
    ) -> list[FoundWheel]:
        """The places of several packages' wheels, in their order; raises `EngineError` for the first not found."""
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            futures = [pool.submit(self.find, one, python, build) for one in wanted]
            for number, future in enumerate(futures):
                progress.update("Looking for the packages", number / len(futures))
                while not wait([future], _BEAT).done:
                    progress.check()
            return [future.result(0) for future in futures]
        except BaseException:
            self._is_over.set()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _check(self) -> None:
        if self._is_over.is_set():
            raise Cancelled("Cancelled.")

    def find(self, wanted: Wanted, python: Python, build: TorchBuild) -> FoundWheel:
        """Where one package's wheel lies.

        A wheel that the lock names is looked for by that name, and it is the lock's hash that counts. Of one that it
        does not, an index must tell the hash.
        """
        failure: EngineError | None = None
        is_refused = False
        for place in self._places(wanted, build):
            try:
                files = self._files(place, wanted.name)
            except EngineError as error:
                failure = failure or error  # another place may have it
                continue
            if (found := _pick(files, wanted, python)) is not None:
                if found.wheel.sha256 or found.path:
                    return found
                is_refused = True
        raise failure or EngineError(self._missing(wanted, python, is_refused))

    def _places(self, wanted: Wanted, build: TorchBuild) -> list[str]:
        """The folders and addresses to look at, the nearest first."""
        if self.folder is not None:
            return [str(self.folder)]
        indexes = [index or default_index() for index in self.settings.indexes]
        pages = [f"{index.rstrip('/')}/{wanted.name}/" for index in indexes]
        if build.index and (wanted.wheel is None or "+" in wanted.version):
            pages.append(f"{build.index.rstrip('/')}/{wanted.name}/")
        return [*self.settings.find_links, *pages]

    def _files(self, place: str, name: str) -> list[FoundWheel]:
        """What lies at a place; nothing where it does not know the package. Raises `EngineError`."""
        if place not in self._pages:
            self._pages[place] = self._read(place, name)
        return self._pages[place]

    def _read(self, place: str, name: str) -> list[FoundWheel]:
        if (path := _local(place)) is not None:
            if (path / "index.html").is_file():
                path = path / "index.html"
            if path.is_file():
                return _from_html(path.read_text(encoding="utf-8", errors="replace"), path.as_uri())
            return [FoundWheel(Wheel(file.name), path=file) for file in sorted(path.glob("*.whl"))]  # none: not there
        host = urllib.parse.urlsplit(place).netloc
        if host in self._dead:
            raise self._dead[host]
        for pause in _PAUSES:
            try:
                return self._ask(place, name)
            except BrokenOff:
                time.sleep(pause)
        try:
            return self._ask(place, name)
        except BrokenOff as error:
            self._dead[host] = error
            raise

    def _ask(self, place: str, name: str) -> list[FoundWheel]:
        """What a page on the web names; raises `BrokenOff` for what may pass, `EngineError`."""
        if self.client is None:
            return []
        import httpx

        from ...transfer.line import HEAD_LIMIT, Line

        shown = _shown(place)
        try:
            line = Line(self.client)
            with line.open("GET", place, self._check, head_limit=HEAD_LIMIT, headers={"Accept": _ACCEPT}) as reply:
                response = reply.response
                if response.status_code == 404:
                    return []
                response.raise_for_status()
                content = b""
                for piece in reply.pieces(_LONGEST):
                    content += piece
                    if len(content) > _MOST:
                        raise EngineError("{index} is no package index; check pip's settings.", index=shown)
                base, kind = str(response.url), response.headers.get("content-type", "")
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            kind_of_error = BrokenOff if code in PASSING else DownloadError
            raise kind_of_error(
                message(
                    "{index} answers {status_code} where {name} was looked for; check pip's settings, or try "
                    "again later.",
                    index=shown,
                    status_code=code,
                    name=name,
                ),
                code,
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if (told := explain(error)) is not None:
                raise DownloadError(told.message) if is_lasting(error) else BrokenOff(told.message) from None
            raise BrokenOff(
                "{index} cannot be reached ({reason}); check the connection, or name your proxy in HTTPS_PROXY or "
                "your own index in PIP_INDEX_URL.",
                index=shown,
                reason=short(error),
            ) from None
        base = _with_login(base, place)
        if "json" in kind:
            return _from_json(content, base, shown)
        return _from_html(content.decode("utf-8", "replace"), base)

    def _missing(self, wanted: Wanted, python: Python, is_refused: bool) -> str:
        what = (
            wanted.wheel.file
            if wanted.wheel
            else message(
                "{name} {version} for Python {python}", name=wanted.name, version=wanted.version, python=python.version
            )
        )
        if self.folder is not None:
            return message(
                "{folder} has no {package}; put it there, or install from the package index.",
                folder=self.folder,
                package=what,
            )
        if is_refused:
            return message(
                "No package index tells the checksum of {package}, so that it cannot be trusted; take another index.",
                package=what,
            )
        return message(
            "No package index has {package}; check PIP_INDEX_URL and pip's configuration, or update the add-on.",
            package=what,
        )


def _pick(files: list[FoundWheel], wanted: Wanted, python: Python) -> FoundWheel | None:
    """The file that is wanted: by the lock's name, or else the best wheel of that version."""
    if wanted.wheel is not None:
        for found in files:
            if found.wheel.file == wanted.wheel.file:
                return FoundWheel(wanted.wheel, found.url, found.path)
        return None
    of_version = [found for found in files if _names(found.wheel.file, wanted)]
    best = best_wheel([found.wheel for found in of_version], python)
    return next((found for found in of_version if found.wheel == best), None)


def _names(file: str, wanted: Wanted) -> bool:
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    try:
        name, version, *_ = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return False
    asked = Version(wanted.version)
    # an index may know nvidia-cublas-cu12==12.6.4.1 only as 12.6.4.1+something: then it is that one
    return name == canonicalize_name(wanted.name) and (
        version == asked or (not asked.local and version.public == asked.public)
    )


# --- the two forms of an index page ---


def _from_json(content: bytes, base: str, shown: str) -> list[FoundWheel]:
    import json

    try:
        files: list[dict[str, Any]] = json.loads(content)["files"]
        return [
            FoundWheel(
                Wheel(str(file["filename"]), int(file.get("size") or 0), str(file.get("hashes", {}).get("sha256", ""))),
                _with_login(urllib.parse.urljoin(base, str(file["url"])), base),
            )
            for file in files
            if str(file["filename"]).endswith(".whl")
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EngineError("{index} is no package index; check pip's settings.", index=shown) from None


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href and not self.base:
            self.base = href
        elif tag == "a" and href:
            self.links.append(href)


def _from_html(text: str, base: str) -> list[FoundWheel]:
    parser = _Links()
    parser.feed(text)
    base = urllib.parse.urljoin(base, parser.base)
    found = []
    for link in parser.links:
        url, _, fragment = urllib.parse.urljoin(base, link).partition("#")
        file = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
        if file.endswith(".whl"):
            digest = re.search(r"sha256=([0-9a-fA-F]{64})", fragment)
            wheel = Wheel(file, 0, digest[1].lower() if digest else "")
            path = _local(url)
            found.append(FoundWheel(wheel, "" if path else _with_login(url, base), path))
    return found


# --- addresses ---


def _local(place: str) -> Path | None:
    """The path of a file: address, or of what is no address at all."""
    if is_file_address(place):
        return Path(path_of_address(place.partition("#")[0]))
    parts = urllib.parse.urlsplit(place)
    # C:\wheels is a path, whatever its colon looks like
    return None if parts.scheme in ("http", "https") else Path(place).expanduser()


def _with_login(url: str, other: str) -> str:
    """`url` with the name and password of `other`, where they are for the same host and it has none itself."""
    here, there = urllib.parse.urlsplit(url), urllib.parse.urlsplit(other)
    if "@" in here.netloc or "@" not in there.netloc:
        return url
    login, _, host = there.netloc.rpartition("@")
    if (here.scheme, here.netloc) != (there.scheme, host):
        return url
    return urllib.parse.urlunsplit(here._replace(netloc=f"{login}@{host}"))


def _shown(url: str) -> str:
    """An address as it may be told: without name and password."""
    return without_login(url.partition("#")[0].partition("?")[0])
