"""What can go wrong with a download, in sentences."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from ..core.addresses import without_login
from ..core.disk import is_full
from ..core.errors import EngineError
from .failures import explain, is_lasting, short

# Not to be mended by asking again.
LASTING = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects)
# Busy, or not there for a moment: worth asking again.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGAIN = "start the download again: it goes on where it stopped"


class DownloadError(EngineError):
    """A file could not be had; `status` is the HTTP status that said so, 0 where it was something else."""

    code = "downloadFailed"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class BrokenOff(DownloadError):
    """A failure that may pass; its own words serve when it does not. `wait` is what the server asks for, in seconds."""

    def __init__(self, message: str, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(message, status)
        self.wait = wait


class Damaged(DownloadError):
    """What came is not the file that was asked for."""


class WebPage(DownloadError):
    """The server answers with a page for people."""


def refused(status: int, name: str, host: str, wait: float = 0.0) -> DownloadError:
    """The error of an answer that is no success."""
    if status == 401:
        text = (
            f"{host} gives {name} only to those who have signed in; give an access token (HF_TOKEN), or another source."
        )
    elif status == 403:
        text = (
            f"{host} refuses to give {name}: the account has no access to it, or has not accepted its terms there; "
            "do that on its page, or choose another source."
        )
    elif status == 407:
        text = f"The proxy wants a name and a password before it lets {name} through; put them into HTTPS_PROXY."
    elif status in (404, 410):
        text = f"{host} has no {name}; check the address of the source, or update the add-on."
    elif status == 429:
        when = f"in {_minutes(wait)}" if wait else "later"
        text = f"{host} has had too many requests from here and gives {name} {when}; {_AGAIN}."
    elif status >= 500 or status in PASSING:
        text = f"The server {host} is out of order (it answers {status}) and does not give {name}; later, {_AGAIN}."
    else:
        text = f"{host} answers {status} where {name} was asked for; check the address of the source."
    return BrokenOff(text, status, wait) if status in PASSING else DownloadError(text, status)


def refuse_page(response: httpx.Response, name: str) -> None:
    """Raise `WebPage` where a page for people comes in place of a file."""
    kind = response.headers.get("content-type", "")
    if kind.startswith(("text/html", "application/xhtml")) and not name.endswith((".html", ".htm")):
        raise WebPage(
            f"{response.url.host} answers with a web page in place of {name}: a page to sign in to the network, or a "
            "wrong address; open it in a browser."
        )


def leads_nowhere(url: str) -> DownloadError:
    """The error of an address that cannot be one."""
    return DownloadError(f"The address {shown(url)} leads nowhere; correct the address of the source.")


def shown(url: str) -> str:
    """An address without what nobody else should read: names, passwords, signatures."""
    return without_login(url.partition("?")[0])


def broken_line(name: str, host: str, error: Exception) -> DownloadError:
    """The error of a connection that was not made, or did not hold."""
    if (told := explain(error, host)) is not None:
        return DownloadError(str(told)) if is_lasting(error) else BrokenOff(str(told))
    reason = short(error)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return BrokenOff(f"{host} cannot be reached for {name} ({reason}); check the connection, and the proxy if any.")
    return BrokenOff(f"The download of {name} from {host} broke off ({reason}); check the connection and {_AGAIN}.")


def disk_trouble(name: str, folder: object, error: OSError) -> DownloadError:
    """The error of a file that could not be written."""
    if is_full(error):
        return DownloadError(f"The disk of {folder} is full; free some space, and {_AGAIN}.")
    return DownloadError(f"{name} cannot be written to {folder} ({error.strerror or error}); choose another folder.")


def retry_after(text: str | None) -> float:
    """The seconds of a Retry-After header, which is a number or a date; 0 where there is none that can be read."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return min(float(text), 1e6)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromtimestamp(time.time(), UTC)).total_seconds())


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
