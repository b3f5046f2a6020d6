"""Fetch what the service's page needs and the repository does not hold, into trellis_addon/service/page/built/.

    python tools/page_parts.py

`@google/model-viewer`, by which the page turns assets in 3D: one file out of its package, of the pinned version and
hash, with its licence. And the translations, for an installation that has no extension around it. Run before a wheel is
built or a service is started from a checkout; without it the page shows pictures, and says so. Needs npm.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "trellis_addon" / "service" / "page" / "built"
LANGUAGES = ROOT / "translations"

PACKAGE = "@google/model-viewer"
VERSION = "4.4.0"
# Apache-2.0; with three (MIT), lit (BSD-3-Clause) and fflate (MIT) in its file, whose notices are in it
INTEGRITY = "sha512-8z1SB5sPlzKoak5mdx/D31brBakPYm3Qi31EfAucHAUrtrHHCbabypkKvSwReYhUpPaxyJ46oT47uWE/hrs1Zw=="
FILES = {"package/dist/model-viewer.min.js": "model-viewer.min.js", "package/LICENSE": "model-viewer-LICENSE.txt"}
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not there; install Node.js to fetch model-viewer.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", temporary]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(temporary).glob("*.tgz")
        unpack(archive.read_bytes(), archive, BUILT)
    copy_words(BUILT / "words")
    for path in sorted(path for path in BUILT.rglob("*") if path.is_file()):
        print(f"{path.relative_to(ROOT).as_posix()}  {path.stat().st_size / 1e3:.0f} kB")
    return 0


def unpack(data: bytes, archive: Path, target: Path) -> None:
    """The package's files into `target`, with a note of what they are; ends the build for any other package."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != INTEGRITY:
        raise SystemExit(f"{PACKAGE} {VERSION} has the hash {found}, not the pinned {INTEGRITY}.")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as opened:
        for name, ours in FILES.items():
            member = opened.extractfile(name)
            assert member is not None, name
            (target / ours).write_bytes(member.read())
    script = (target / "model-viewer.min.js").read_bytes()
    told = {
        "package": PACKAGE,
        "version": VERSION,
        "integrity": INTEGRITY,
        "license": "Apache-2.0",
        "sha256": hashlib.sha256(script).hexdigest(),
        "styles": styles(script),
    }
    (target / "model-viewer.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def styles(script: bytes) -> list[str]:
    """What a Content-Security-Policy must name for the style sheets that the script writes into its shadow root."""
    return [
        "sha256-" + base64.b64encode(hashlib.sha256(style).digest()).decode()
        for style in sorted(_STYLE.findall(script))
    ]


def copy_words(target: Path) -> None:
    for path in sorted(LANGUAGES.rglob("*.json")):
        copy = target / path.relative_to(LANGUAGES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


if __name__ == "__main__":
    sys.exit(main())
