"""Whose certificates are trusted: the system's, those of the common authorities, and whatever this machine names.

One store for all: a company's own authority that pip, curl or requests were told of counts for everything here.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import ssl
from pathlib import Path

from ..core.configuration import configuration
from ..core.errors import NetworkSettingsError
from ..core.files import read_bytes
from ..core.messages import message
from .pip_files import pip_setting

log = logging.getLogger(__name__)

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_KEY_LOG = "SSLKEYLOGFILE"
_PIP_FILES = message("pip's configuration")
# Where systems keep theirs: a Python that was built elsewhere, as Blender's is, does not know.
_OF_SYSTEMS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def trust(certificate: str = "") -> ssl.SSLContext:
    """What a TLS connection is made with; `certificate` is one more file, named by pip's settings.

    Raises `NetworkSettingsError` for the first variable that names what are no certificates, or what cannot be written.
    """
    variables = configuration().variables
    named = [("PIP_CERT", certificate), *((name, variables.get(name, "")) for name in VARIABLES)]
    if not any(value for name, value in named if name == "PIP_CERT"):
        named.append((_PIP_FILES, pip_setting("cert")))
    given = tuple((name, value.strip()) for name, value in named if value.strip())
    return _context(given, variables.get(_KEY_LOG, ""))


@functools.lru_cache(maxsize=4)  # a tenth of a second and a megabyte each, which holds up every other thread
def _context(named: tuple[tuple[str, str], ...], key_log: str) -> ssl.SSLContext:
    # Not ssl.create_default_context: it opens SSLKEYLOGFILE without a word of it where that fails, and from Python 3.13
    # on refuses many a company's authority that browsers and curl take.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own certificate may be named as well
    for name, value in named:
        for path in _folders(value) if name == "SSL_CERT_DIR" else [value]:
            try:
                _add(context, Path(path.strip("\"'")).expanduser())
            except (OSError, ValueError):  # an ssl.SSLError is an OSError
                if name == _PIP_FILES:  # which pip itself tells of; what is lacking here is told by a connection
                    log.warning("pip's configuration names certificates that cannot be read: %s", path)
                    continue
                raise NetworkSettingsError(
                    "The variable {name} names {path}, which is no file of certificates; correct it, or unset it.",
                    name=name,
                    path=path,
                ) from None
    _add_usual(context)  # the last: OpenSSL reads some of these variables itself, and would wait for a pipe for ever
    if key_log:
        try:
            if Path(key_log).is_fifo():
                raise OSError  # it would be waited for
            context.keylog_filename = key_log
        except OSError:
            raise NetworkSettingsError(
                "The variable {variable} names {path}, which cannot be written; correct it, or unset it.",
                variable=_KEY_LOG,
                path=key_log,
            ) from None
    return context


def _folders(value: str) -> list[str]:
    """Those of several folders, named as in PATH, that are there; all of them where none is."""
    named = [path for path in value.split(os.pathsep) if path.strip()]
    return [path for path in named if Path(path.strip("\"'")).expanduser().is_dir()] or named


def _add_usual(context: ssl.SSLContext) -> None:
    import certifi

    try:
        context.load_default_certs()
    except ssl.SSLError as error:  # one that is damaged, among all of Windows'
        log.warning("The system's certificates cannot all be read: %s", error)
    places = ssl.get_default_verify_paths()
    if not (places.cafile or places.capath):
        found = next((path for path in _OF_SYSTEMS if Path(path).is_file()), None)
        if found is not None:
            context.load_verify_locations(found)
    context.load_verify_locations(certifi.where())


def _add(context: ssl.SSLContext, path: Path) -> None:
    """Trust a file of certificates, of text or in their binary form, or a folder of them."""
    if not path.is_dir():
        data = read_bytes(path)
        if b"-----BEGIN" in data:
            context.load_verify_locations(cafile=str(path))
        else:
            context.load_verify_locations(cadata=data)
        return
    files = list(path.iterdir())
    if any(re.fullmatch(r"[0-9a-f]{8}\.\d+", file.name) for file in files):
        context.load_verify_locations(capath=str(path))  # OpenSSL finds by these names what it needs
        return
    for file in files:
        if file.suffix.lower() in (".pem", ".crt", ".cer"):
            _add(context, file)
