"""Where weights come from: the hub, a mirror of it, a mirror with a list of its own, or a folder of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx

from ..core.addresses import is_this_machine
from ..core.errors import EngineError, OfflineError
from ..core.messages import message
from ..transfer.errors import DownloadError, WebPage, shown
from ..transfer.part import Remote, fits
from ..transfer.small import fetch_bytes
from .hub import HUB, endpoint, token
from .manifest import MANIFEST_FILE, MAX_BYTES, Manifest, parse_manifest, read_manifest
from .published import DINOV3, REVISIONS, WeightFile, group_of

_SMALL_TEXT = 1 << 20  # bytes of a licence that comes along
_ANSWER = 8 << 20  # bytes of a list of the hub's


@dataclass(frozen=True)
class Item:
    """A file to fetch, with what the source says of it, from an address or from a folder."""

    file: WeightFile
    origin: Remote | Path


class WeightsSource(Protocol):
    title: str
    """Whose files they are, in words: "huggingface.co", or a mirror's own name and address."""

    def items(self, groups: Sequence[str]) -> list[Item]:
        """Where every file of these groups is to be had. Raises `EngineError`."""
        ...


def open_source(
    text: str, http: httpx.Client, *, check: Callable[[], None] = lambda: None, allow_network: bool = True
) -> WeightsSource:
    """A source by what the user gave: "" is the hub, else a web address or a folder.

    A web address is a mirror with a `weights.json` of its own, or one of the hub's layout. `check` is called while
    waiting for an answer, and may raise. Raises `EngineError`, `OfflineError`.
    """
    text = text.strip()
    is_web = not text or urlsplit(text).scheme in ("http", "https")
    if not is_web:
        return FolderSource(Path(text).expanduser())
    if not allow_network:
        raise OfflineError(
            "Online access is off; switch it on in Preferences > System to download the weights, or take them from a "
            "folder."
        )
    if not text:
        return HubSource(endpoint(), http, token(), check)
    address = text.rstrip("/").removesuffix(f"/{MANIFEST_FILE}")
    try:
        data = fetch_bytes(Remote(f"{address}/{MANIFEST_FILE}"), http, MAX_BYTES, check)
    except DownloadError as error:
        if error.status not in (401, 403, 404, 410) and not isinstance(error, WebPage):
            raise
        return HubSource(address, http, check=check)
    return ManifestSource(address, parse_manifest(data, f"{shown(address)}/{MANIFEST_FILE}"))


class ManifestSource:
    """A web address with a manifest: what it says is what counts."""

    def __init__(self, address: str, manifest: Manifest) -> None:
        self._address = address
        self._manifest = manifest
        self.title = f"{manifest.name} ({shown(address)})" if manifest.name else shown(address)

    def items(self, groups: Sequence[str]) -> list[Item]:
        unhashed = [entry.path for entry in self._manifest.files if not entry.sha256]
        if unhashed:
            raise EngineError(
                "{source} tells no SHA-256 of {file}; whoever keeps it can write its list again, with: python -m "
                "trellis_addon local weights manifest FOLDER .",
                source=self.title,
                file=unhashed[0],
            )
        return [
            Item(file, Remote(f"{self._address}/{quote(file.path)}", file.size, file.sha256))
            for file in files_of(self._manifest, groups, self.title)
        ]


class HubSource:
    """The hub, or a mirror in its layout: owner/name/resolve/revision/path."""

    def __init__(
        self, address: str, http: httpx.Client, token: str = "", check: Callable[[], None] = lambda: None
    ) -> None:
        self.title = shown(address).partition("//")[2]
        self._check = check
        self._address = address
        self._http = http
        self._token = token if _is_safe(address) else ""

    def items(self, groups: Sequence[str]) -> list[Item]:
        wanted = [file for key in groups for file in self._variant(key)]
        told = {name: self._told(name) for name in dict.fromkeys(file.repository for file in wanted)}
        return [self._item(file, *told[file.repository]) for file in wanted]

    def _variant(self, key: str) -> tuple[WeightFile, ...]:
        """The files of a group that this user gets: the gated ones only where the token opens them."""
        first, *others = group_of(key).variants
        if first[0].repository != DINOV3 or not others:
            return first
        if not self._token:
            return others[0]
        try:
            fetch_bytes(self._remote(first[0], REVISIONS[DINOV3]), self._http, _ANSWER, self._check)
        except DownloadError as error:
            if error.status in (401, 403, 404):
                return others[0]
            raise
        return first

    def _told(self, repository: str) -> tuple[str, dict[str, WeightFile]]:
        """The revision to take, and what the hub says of its files; nothing where it does not answer such questions."""
        pinned = REVISIONS[repository]
        for revision in dict.fromkeys((pinned, "main")):
            address = f"{self._address}/api/models/{repository}/tree/{revision}?recursive=true"
            try:
                remote = Remote(address, headers=self._headers(repository))
                data = fetch_bytes(remote, self._http, _ANSWER, self._check, name=message("its list of files"))
                return revision, _tree(data)
            except WebPage:
                continue
            except DownloadError as error:
                if error.status not in (401, 403, 404, 405, 410):
                    raise
        return ("main" if self._address != HUB else pinned), {}

    def _item(self, file: WeightFile, revision: str, told: dict[str, WeightFile]) -> Item:
        known = told.get(file.place)
        if told and known is None:
            raise EngineError(
                "{source} has no {file} in {repository}; update the add-on.",
                source=self.title,
                file=file.place,
                repository=file.repository,
            )
        if known is not None:
            is_same = file.size in (None, known.size) and (not known.sha256 or fits(known.sha256, file.sha256))
            if not is_same:
                raise EngineError(
                    "{file} of {repository} is another file at {source} than this add-on was made for; update the "
                    "add-on, or choose another source.",
                    file=file.place,
                    repository=file.repository,
                    source=self.title,
                )
            file = replace(file, size=known.size, sha256=file.sha256 or known.sha256)
        return Item(file, self._remote(file, revision))

    def _remote(self, file: WeightFile, revision: str) -> Remote:
        url = f"{self._address}/{file.repository}/resolve/{revision}/{quote(file.place)}"
        return Remote(url, file.size, file.sha256, self._headers(file.repository))

    def _headers(self, repository: str) -> dict[str, str]:
        # Only where it is needed: a token that has expired would shut out what is open to all.
        return {"Authorization": f"Bearer {self._token}"} if self._token and repository == DINOV3 else {}


class FolderSource:
    """A folder of this machine: a copy of the weights, with a manifest or without, or the hub's downloads' folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.title = str(folder)

    def items(self, groups: Sequence[str]) -> list[Item]:
        if not self._folder.is_dir():
            raise EngineError(
                "There is no folder {folder} to take weights from; correct the source.", folder=self._folder
            )
        manifest = read_manifest(self._folder)
        if manifest.files:
            files = files_of(manifest, groups, self.title)
            return [Item(file, self._folder / file.path) for file in files]
        return [item for key in groups for item in self._found(key)]

    def _found(self, key: str) -> list[Item]:
        missing = ""
        for variant in group_of(key).variants:
            places = [self._place(file) for file in variant]
            absent = [file.path for file, place in zip(variant, places, strict=True) if place is None]
            if not absent:
                # A copy may be of other sizes than the published files, such as small ones for a trial.
                return [
                    Item(replace(file, size=place.stat().st_size, sha256=_hash_of(file, place)), place)
                    for file, place in zip(variant, places, strict=True)
                    if place is not None
                ]
            missing = missing or absent[0]
        raise EngineError(
            "{folder} has no {missing}; choose a whole copy of the weights, or another source.",
            folder=self._folder,
            missing=missing,
        )

    def _place(self, file: WeightFile) -> Path | None:
        """Where a file lies: at its path, or in the downloads' folder of the hub, which this may be, or be part of."""
        owner, name = file.repository.split("/")
        snapshots = f"models--{owner}--{name}/snapshots"
        caches = [self._folder, self._folder / "hub", *self._folder.parents[:3]]
        found = [self._folder / file.path, self._folder / file.repository / file.place]
        for cache in caches:
            if (cache / snapshots).is_dir():
                found += sorted((cache / snapshots).glob(f"*/{file.place}"))
        return next((path for path in found if path.is_file()), None)


def files_of(manifest: Manifest, groups: Iterable[str], where: str) -> list[WeightFile]:
    """The files of a manifest that these groups are, and the licences that go with them. Raises `EngineError`."""
    wanted: list[WeightFile] = []
    for key in groups:
        own = [entry for entry in manifest.files if entry.group == key]
        variants = [{file.path for file in variant} for variant in group_of(key).variants]
        if not any(variant <= {entry.path for entry in own} for variant in variants):
            lacking = sorted(variants[0] - {entry.path for entry in own})[0]
            raise EngineError(
                "{where} has no {lacking}; choose other weights, or another source.", where=where, lacking=lacking
            )
        wanted += [WeightFile(entry.path, entry.size, entry.sha256) for entry in own]
    texts = [entry for entry in manifest.files if not entry.group and entry.size <= _SMALL_TEXT]
    return wanted + [
        WeightFile(entry.path, entry.size, entry.sha256) for entry in texts if not entry.path.endswith(".json")
    ]


def _is_safe(address: str) -> bool:
    """Whether a token may go there: over TLS, or to this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or is_this_machine(parts.hostname or "")


def _tree(data: bytes) -> dict[str, WeightFile]:
    """What the hub's list of a repository says: sizes, and the SHA-256 of large files."""
    try:
        listed = json.loads(data)
    except ValueError:
        return {}
    found: dict[str, WeightFile] = {}
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and isinstance(item.get("path"), str) and isinstance(item.get("size"), int):
            found[item["path"]] = WeightFile(item["path"], item["size"], _oid(item.get("lfs")))
    return found


def _oid(lfs: Any) -> str:
    oid = lfs.get("oid") if isinstance(lfs, dict) else None
    return oid.removeprefix("sha256:").lower() if isinstance(oid, str) and len(oid) >= 64 else ""


def _hash_of(file: WeightFile, place: Path) -> str:
    """The published hash where the file has the published size."""
    return file.sha256 if place.stat().st_size == file.size else ""
