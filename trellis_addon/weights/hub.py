"""The hub of models as this machine knows it: its address, the user's token, and where its own tools keep things."""

from __future__ import annotations

from pathlib import Path

from ..core.configuration import configuration

HUB = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def endpoint() -> str:
    """The hub's address, or that of the mirror that `HF_ENDPOINT` names."""
    return (configuration().variables.get(ENDPOINT_VARIABLE) or HUB).rstrip("/")


def token() -> str:
    """The user's access token of the hub, of a variable or as its own tools keep it; "" without one."""
    for variable in TOKEN_VARIABLES:
        if text := configuration().variables.get(variable, "").strip():
            return _clean(text)
    path = Path(configuration().variables.get("HF_TOKEN_PATH") or hub_home() / "token")
    try:
        return _clean(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return ""


def hub_home() -> Path:
    """Where the hub's own tools keep things on this machine."""
    cache = configuration().variables.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(configuration().variables.get("HF_HOME") or Path(cache) / "huggingface").expanduser()


def hub_cache() -> Path:
    """Where the hub's own tools put what they download."""
    return Path(configuration().variables.get("HF_HUB_CACHE") or hub_home() / "hub").expanduser()


def _clean(text: str) -> str:
    text = text.strip()
    return text if text.isascii() and text.isprintable() and " " not in text else ""
