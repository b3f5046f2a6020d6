"""Downloads of large files: gone on with after every kind of break, checked, several at once, refused in words."""

from __future__ import annotations

import errno
import gzip
import hashlib
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
from conftest import PATIENCE, ROOT, sentence
from weights_mirror import Mirror, Request, serving

from trellis_addon.core.errors import Cancelled, NetworkSettingsError
from trellis_addon.core.progress import Progress
from trellis_addon.core.sizes import progress_words, size_words
from trellis_addon.transfer import file as download_file
from trellis_addon.transfer import part as download_part
from trellis_addon.transfer.board import Board, time_words
from trellis_addon.transfer.download import DownloadError, Remote, fetch_all, fetch_file
from trellis_addon.transfer.errors import retry_after
from trellis_addon.transfer.trust import VARIABLES, trust

BODY = bytes(range(256)) * 2048 + b"end"  # half a megabyte
NAME = "ckpts/model.safetensors"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_file, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(download_file, "LONGEST_WAIT", 0.01)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({NAME: BODY})) as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / NAME


def remote(mirror: Mirror, name: str = NAME, *, known: bool = True, **changes: Any) -> Remote:
    body = mirror.files[name]
    values: dict[str, Any] = {"size": len(body), "sha256": sha256(body)} if known else {}
    return Remote(f"{mirror.url}/{name}", **{**values, **changes})


def assert_fetched(target: Path, body: bytes = BODY) -> None:
    assert target.read_bytes() == body
    assert [path.name for path in target.parent.iterdir()] == [target.name]  # no .part, no note, no lock


def started_at(request: Request) -> int:
    return int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def test_file_comes_whole(mirror: Mirror, target: Path) -> None:
    assert fetch_file(remote(mirror), target) == target
    assert_fetched(target)
    assert len(mirror.requests) == 1


def test_what_is_there_is_not_fetched_again(mirror: Mirror, target: Path) -> None:
    fetch_file(remote(mirror), target)
    fetch_file(remote(mirror), target)
    fetch_file(remote(mirror, sha256=""), target)  # by its size
    assert len(mirror.requests) == 1
    target.write_bytes(BODY[:-1] + b"!")
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert len(mirror.requests) == 2


@pytest.mark.parametrize("known", [True, False], ids=["hash known", "nothing known"])
def test_goes_on_after_every_cut(mirror: Mirror, target: Path, known: bool) -> None:
    mirror.cuts = [1, 100_000, 7, 16384, 33]
    fetch_file(remote(mirror, known=known), target)
    assert_fetched(target)
    assert len(mirror.requests) == 6
    assert [started_at(request) for request in mirror.requests] == [0, 1, 100_001, 100_008, 116_392, 116_425]
    assert sum(request.sent for request in mirror.requests) == len(BODY)
    assert all(request.headers["if-range"] == mirror.tag(BODY) for request in mirror.requests[1:])


def test_line_may_break_as_often_as_it_likes_while_it_gets_on(mirror: Mirror, target: Path) -> None:
    mirror.cuts = [20_000] * 3 * download_file.ATTEMPTS
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert len(mirror.requests) == 3 * download_file.ATTEMPTS + 1


def test_gives_up_when_nothing_comes_and_goes_on_another_time(mirror: Mirror, target: Path) -> None:
    mirror.cuts = [1000] + [0] * download_file.ATTEMPTS
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror), target)
    assert "broke off" in sentence(caught.value)
    assert download_part.part_of(target).stat().st_size == 1000
    mirror.cuts = []
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert started_at(mirror.requests[-1]) == 1000


def test_cancelled_part_is_gone_on_with(mirror: Mirror, target: Path) -> None:
    mirror.rate = 2e6
    part = download_part.part_of(target)
    cancel = Progress(is_cancelled=lambda: part.is_file() and part.stat().st_size > 50_000)
    with pytest.raises(Cancelled):
        fetch_file(remote(mirror), target, cancel)
    have = part.stat().st_size
    assert 50_000 < have < len(BODY) and not target.exists()
    mirror.rate = 0
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert started_at(mirror.requests[-1]) == have


def test_cancelling_does_not_wait_for_bytes_that_do_not_come(mirror: Mirror, target: Path) -> None:
    mirror.stall.set()
    part, *_, lock = download_part.leftovers_of(target)
    with pytest.raises(Cancelled):
        fetch_file(remote(mirror), target, Progress(is_cancelled=lambda: part.is_file() and part.stat().st_size > 0))
    assert not lock.exists()  # the thread has ended, though the server still keeps its line
    mirror.stall.clear()
    fetch_file(remote(mirror), target)
    assert_fetched(target)


@pytest.mark.parametrize("ends", ["SIGKILL", "SIGTERM"])
def test_killed_process_leaves_what_another_goes_on_with(mirror: Mirror, target: Path, ends: str) -> None:
    if not hasattr(signal, ends):
        pytest.skip(f"no {ends} here")
    mirror.rate = 1e6
    wanted = remote(mirror)
    code = (
        "import sys; from pathlib import Path; from trellis_addon.transfer.download import *;"
        "fetch_file(Remote(sys.argv[1], int(sys.argv[2]), sys.argv[3]), Path(sys.argv[4]))"
    )
    arguments = [wanted.url, str(wanted.size), wanted.sha256, str(target)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT) as child:
        part = download_part.part_of(target)
        wait_until(lambda: part.is_file() and part.stat().st_size > 60_000)
        child.send_signal(getattr(signal, ends))
        assert child.wait(PATIENCE) != 0
    have = part.stat().st_size
    assert 60_000 < have < len(BODY)
    mirror.rate = 0
    fetch_file(wanted, target)
    assert_fetched(target)
    assert started_at(mirror.requests[-1]) == have


def test_two_that_fetch_the_same_file_take_turns(mirror: Mirror, target: Path) -> None:
    mirror.stall.set()
    failures: list[BaseException] = []
    stages: list[str] = []

    def other() -> None:
        try:
            fetch_file(remote(mirror), target)
        except BaseException as error:
            failures.append(error)

    def told(stage: str, share: float) -> None:
        stages.append(stage)
        if "waiting" in stage or len(stages) > 200:
            mirror.stall.clear()

    thread = threading.Thread(target=other)
    thread.start()
    wait_until(lambda: download_part.part_of(target).is_file())
    fetch_file(remote(mirror), target, Progress(told))
    thread.join()
    assert not failures
    assert_fetched(target)
    assert len(mirror.requests) == 1  # the second found it there
    assert any("waiting" in stage for stage in stages)


def test_server_without_ranges_begins_again(mirror: Mirror, target: Path) -> None:
    mirror.ranges, mirror.cuts = False, [50_000, 200_000]
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert [request.sent for request in mirror.requests] == [50_000, 200_000, len(BODY)]


def test_file_that_changed_meanwhile_begins_again(mirror: Mirror, target: Path) -> None:
    mirror.cuts = [100_000] + [0] * download_file.ATTEMPTS
    with pytest.raises(DownloadError):
        fetch_file(remote(mirror, known=False), target)
    mirror.cuts, mirror.files[NAME] = [], b"quite another file" * 9000
    fetch_file(remote(mirror, known=False), target)
    assert_fetched(target, mirror.files[NAME])
    assert started_at(mirror.requests[-1]) == 100_000 and mirror.requests[-1].sent == len(mirror.files[NAME])


def test_changed_file_of_a_server_that_ignores_if_range(mirror: Mirror, target: Path) -> None:
    tags = iter(['"one"', '"two"', '"two"', '"two"'])
    now = [""]

    def tag(body: bytes) -> str:
        now[0] = next(tags)
        return now[0]

    mirror.tag, mirror.cuts = tag, [100_000]
    served = remote(mirror, known=False)
    original = Request.__init__

    def without_if_range(self: Request, path: str, headers: dict[str, str], sent: int = 0) -> None:
        original(self, path, {name: value for name, value in headers.items() if name != "if-range"}, sent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Request, "__init__", without_if_range)
        fetch_file(served, target)
    assert_fetched(target)
    assert [started_at(request) for request in mirror.requests] == [0, 100_000, 0]


def test_part_of_an_unnamed_version_is_not_gone_on_with(mirror: Mirror, target: Path) -> None:
    mirror.tag, mirror.cuts = lambda body: "", [100_000]
    fetch_file(remote(mirror, known=False), target)  # within one run the line is all that broke
    assert_fetched(target)
    target.unlink()
    download_part.part_of(target).write_bytes(b"?" * 1000)
    fetch_file(remote(mirror, known=False), target)
    assert_fetched(target)


def test_part_whose_note_is_lost_is_trusted_by_its_hash_alone(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    download_part.part_of(target).write_bytes(BODY[:1234])
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert started_at(mirror.requests[0]) == 1234


def test_compressed_transfer_is_unpacked_and_never_gone_on_with(mirror: Mirror, target: Path) -> None:
    packed = gzip.compress(BODY)
    mirror.files[NAME] = packed
    mirror.headers, mirror.cuts = {"Content-Encoding": "gzip"}, [len(packed) // 2]
    wanted = Remote(f"{mirror.url}/{NAME}", len(BODY), sha256(BODY))
    fetch_file(wanted, target)
    assert_fetched(target)
    assert [started_at(request) > 0 for request in mirror.requests] == [False, True, False]


def test_damage_on_the_way_is_mended_once(mirror: Mirror, target: Path) -> None:
    mirror.damaged[NAME] = 1
    fetch_file(remote(mirror, sha256=sha256(BODY)[:16].upper()), target)
    assert_fetched(target)
    assert len(mirror.requests) == 2


def test_damage_that_stays_is_told_and_leaves_nothing(mirror: Mirror, target: Path) -> None:
    mirror.damaged[NAME] = 9
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror), target)
    assert "damaged" in sentence(caught.value) and target.name in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_damaged_part_of_an_earlier_run_is_thrown_away(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    download_part.part_of(target).write_bytes(b"\0" * 300_000)
    fetch_file(remote(mirror), target)
    assert_fetched(target)


def test_whole_part_is_only_put_in_its_place(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    download_part.part_of(target).write_bytes(BODY)
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert not mirror.requests
    target.unlink()
    download_part.part_of(target).write_bytes(BODY)
    fetch_file(remote(mirror, size=None), target)  # the server says that there is no more
    assert_fetched(target)
    assert mirror.requests[0].sent == 0


def test_too_long_part_is_thrown_away(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    download_part.part_of(target).write_bytes(BODY + b"more")
    fetch_file(remote(mirror, size=None), target)
    assert_fetched(target)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "token"), (403, "terms"), (404, "has no"), (410, "has no"), (418, "418"), (429, "too many"), (503, "503")],
)
def test_refusals_have_sentences(mirror: Mirror, target: Path, status: int, words: str) -> None:
    mirror.refusals = [(status, {})] * 20
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror), target)
    assert words in sentence(caught.value) and caught.value.status == status
    passing = status in (429, 503)
    assert len(mirror.requests) == (download_file.ATTEMPTS if passing else 1)
    assert not target.exists()


def test_busy_server_is_asked_again_when_it_says(mirror: Mirror, target: Path) -> None:
    mirror.refusals = [(429, {"Retry-After": "1"}), (502, {})]
    began = time.monotonic()
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert time.monotonic() - began >= 1  # no faster than it asked for


def test_server_that_asks_for_too_much_patience_is_told(mirror: Mirror, target: Path) -> None:
    mirror.refusals = [(429, {"Retry-After": "3600"})]
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror), target)
    assert "in 60 minutes" in sentence(caught.value) and len(mirror.requests) == 1


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after(None) == retry_after("soon") == retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 3000 < retry_after(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))) <= 3600


def test_another_length_is_told(mirror: Mirror, target: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror, size=len(BODY) + 1), target)
    assert str(len(BODY)) in sentence(caught.value)
    assert not target.exists()


def test_page_to_sign_in_is_no_file(mirror: Mirror, target: Path) -> None:
    mirror.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror, known=False), target)
    assert "web page" in sentence(caught.value)
    assert len(mirror.requests) == 1 and not target.exists()


def test_body_without_an_end_is_stopped(mirror: Mirror, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_file, "MAX_BYTES", 100_000)
    mirror.headers = {"Content-Encoding": "identity, x"}  # so that its length counts for nothing
    with pytest.raises(DownloadError):
        fetch_file(remote(mirror, known=False), target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x", "ftp://x/y", "http://[/x"])
def test_addresses_that_lead_nowhere(target: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch_file(Remote(url), target)
    sentence(caught.value)


def test_token_does_not_go_to_another_host(mirror: Mirror, target: Path) -> None:
    with serving(Mirror(mirror.files)) as elsewhere:
        # two names of this machine are two hosts to a browser as to httpx
        mirror.redirect = elsewhere.url.replace("127.0.0.1", "localhost")
        fetch_file(remote(mirror, headers={"Authorization": "Bearer hf_secret"}), target)
        assert_fetched(target)
        assert mirror.requests[0].headers["authorization"] == "Bearer hf_secret"
        assert "authorization" not in elsewhere.requests[0].headers
        # the same host at another port is another server
        target.unlink()
        mirror.redirect = elsewhere.url
        fetch_file(remote(mirror, headers={"Authorization": "Bearer hf_secret"}), target)
        assert "authorization" not in elsewhere.requests[1].headers
    assert all("hf_secret" not in str(request) for request in elsewhere.requests)


def test_redirects_without_end(mirror: Mirror, target: Path) -> None:
    mirror.redirect = mirror.url
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror), target)
    assert "leads nowhere" in sentence(caught.value)


def test_full_disk_is_told_and_gone_on_with(mirror: Mirror, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = download_part.Part.append

    def until_full(self: download_part.Part, file: Any, chunk: bytes) -> None:
        if self.length > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, file, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(download_part.Part, "append", until_full)
        with pytest.raises(DownloadError) as caught:
            fetch_file(remote(mirror), target)
    assert "full" in sentence(caught.value)
    have = download_part.part_of(target).stat().st_size
    assert have > 200_000
    fetch_file(remote(mirror), target)
    assert_fetched(target)
    assert started_at(mirror.requests[-1]) == have


def test_too_small_a_disk_is_told_before_the_first_byte(mirror: Mirror, target: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror, size=10**18), target)
    assert "free" in sentence(caught.value)
    assert not mirror.requests


def test_folder_that_cannot_be_written_to(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file where a folder should be")
    with pytest.raises(DownloadError) as caught:
        fetch_file(remote(mirror, size=None), tmp_path / "weights" / "model.safetensors")
    assert "cannot be written" in sentence(caught.value)


def test_several_at_once_in_one_progress(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files |= {f"{n}.safetensors": BODY[n:] for n in range(6)}
    mirror.rate, mirror.cuts = 4e6, [9, 99, 999]
    reports: list[tuple[str, float]] = []
    items = [(remote(mirror, f"{n}.safetensors"), tmp_path / f"{n}.safetensors") for n in range(6)]
    fetch_all(items, Progress(lambda stage, share: reports.append((stage, share))), at_once=3)
    assert all(path.read_bytes() == BODY[n:] for n, (_, path) in enumerate(items))
    assert mirror.most_at_once >= 3
    shares = [share for _, share in reports]
    assert shares == sorted(shares) and shares[-1] == 1
    assert reports[-1][0].startswith("Downloading 3 of 3 MB")


def test_one_failure_stops_the_others_where_they_are(mirror: Mirror, tmp_path: Path) -> None:
    mirror.rate = 0.5e6
    gone = Remote(f"{mirror.url}/gone.safetensors", 10)
    with pytest.raises(DownloadError, match="gone.safetensors"):
        fetch_all([(remote(mirror), tmp_path / "model.safetensors"), (gone, tmp_path / "gone.safetensors")])
    assert not (tmp_path / "model.safetensors").exists()
    mirror.rate = 0
    fetch_file(remote(mirror), tmp_path / "model.safetensors")
    assert_fetched(tmp_path / "model.safetensors")


def test_words_of_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trellis_addon.transfer.board.time.monotonic", lambda: now[0])
    board = Board([10_000_000_000, 6_100_000_000], "Downloading")
    assert board.report() == ("Downloading 0.0 of 16.1 GB", 0)
    now[0] += 2
    board.rows[0].done, board.rows[0].received = 1_200_000_000, 76_000_000  # most of it was there
    stage, share = board.report()
    assert stage == "Downloading 1.2 of 16.1 GB, 38 MB/s, 7 min left"
    assert share == pytest.approx(1.2 / 16.1)
    board.rows[0].is_checking = True
    assert board.report()[0] == "Checking 1.2 of 16.1 GB"
    assert (size_words(999), size_words(999_600), size_words(2_584_574_424)) == ("1 kB", "1 MB", "2.6 GB")
    assert progress_words(5_000_000, None) == "5 MB"
    assert (size_words(512), size_words(412e9)) == ("512 B", "412 GB")
    assert progress_words(2e9, 412e9) == "2.0 of 412 GB"
    assert (time_words(0.1), time_words(61), time_words(400), time_words(7500)) == ("1 s", "61 s", "7 min", "2 h 5 min")


def test_certificates_of_a_company_are_trusted_beside_the_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    one = Path(certifi.where()).read_text(encoding="utf-8").split("-----END CERTIFICATE-----")[0]
    (tmp_path / "company.pem").write_text(one + "-----END CERTIFICATE-----\n", encoding="utf-8")
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    usual = len(trust().get_ca_certs())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "company.pem"))
    assert len(trust().get_ca_certs()) == usual > 50
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "nothing.pem"))
    with pytest.raises(NetworkSettingsError) as caught:
        fetch_file(Remote("https://weights.invalid/model.safetensors"), tmp_path / "model.safetensors")
    assert "PIP_CERT" in sentence(caught.value)


def test_proxy_of_the_environment_is_used(mirror: Mirror, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", mirror.url)
    mirror.files[f"ttp://weights.example/{NAME}"] = BODY  # what a proxy is asked for is the whole address
    fetch_file(Remote(f"http://weights.example/{NAME}", len(BODY), sha256(BODY)), target)
    assert_fetched(target)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_helper_file_names_are_those_that_are_removed(target: Path) -> None:
    names = {path.name for path in download_part.leftovers_of(target)}
    assert names == {target.name + ending for ending in (".part", ".part.json", ".lock")}
    assert os.path.basename(download_part.part_of(target)) in names
