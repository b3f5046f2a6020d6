"""Fetch the model's files from Hugging Face into the downloads' folder that all programs share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import EngineError
from ..progress import Progress
from .dinov3_files import MODEL_NAME, TIMM_NAME
from .loading import read_json
from .repository import MODEL_ID, MODELS, TEXTURING_MODELS

IMAGE_MODEL_FILES = ("config.json", "model.safetensors")


def fetch_model(
    repo_id: str = MODEL_ID,
    *,
    revision: str | None = None,
    cache: Path | None = None,
    offline: bool = False,
    texturing: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The folder of the model's snapshot, with every file that `Pipeline.from_folder` needs beside it.

    About 16 GB the first time; nothing is fetched twice. `texturing` adds the shape encoder. The official DINOv3 is
    taken where the user's Hugging Face account may, else the ungated mirror. `offline` only looks. Raises `EngineError`
    with the cause and the cure.
    """
    progress = progress or Progress()
    progress.update("Fetching the model", 0)
    folder = _fetch(repo_id, "pipeline.json", revision, cache, offline).parent
    models = _models(folder / "pipeline.json", MODELS)
    if texturing:
        description = _fetch(repo_id, "texturing_pipeline.json", revision, cache, offline)
        models = {**models, **_models(description, TEXTURING_MODELS)}
    for i, place in enumerate(sorted(set(models.values()))):
        progress.update("Fetching the model", (i + 1) / (len(models) + 2))
        for ending in (".json", ".safetensors"):
            _fetch_model_file(repo_id, place + ending, revision, cache, offline)
    progress.update("Fetching the model", 1 - 1 / (len(models) + 2))
    _fetch_image_model(cache, offline)
    progress.update("Fetching the model", 1)
    return folder


def _models(description: Path, names: Iterable[str]) -> dict[str, str]:
    arguments = read_json(description).get("args")
    models = arguments.get("models") if isinstance(arguments, dict) else None
    if not isinstance(models, dict) or not all(isinstance(models.get(name), str) for name in names):
        raise EngineError(f"{description} does not name the models of a pipeline; this is another model.")
    return {name: models[name] for name in names}


def _fetch_model_file(repo_id: str, place: str, revision: str | None, cache: Path | None, offline: bool) -> None:
    """A file of this repository, or of another one when its path starts with owner and name."""
    parts = place.split("/")
    if len(parts) > 2 and parts[0] != "ckpts":
        _fetch("/".join(parts[:2]), "/".join(parts[2:]), None, cache, offline)
    else:
        _fetch(repo_id, place, revision, cache, offline)


def _fetch_image_model(cache: Path | None, offline: bool) -> None:
    try:
        for file in IMAGE_MODEL_FILES:
            _fetch(MODEL_NAME, file, None, cache, offline)
    except EngineError:  # gated: only accounts that accepted its licence get it
        for file in IMAGE_MODEL_FILES:
            _fetch(TIMM_NAME, file, None, cache, offline)


def _fetch(repo_id: str, file: str, revision: str | None, cache: Path | None, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(repo_id, file, revision=revision, cache_dir=cache, local_files_only=offline)
    except GatedRepoError:
        raise EngineError(
            f"{repo_id} is only given to accounts that accepted its licence; accept it on huggingface.co and sign in"
            " with `hf auth login`."
        ) from None
    except LocalEntryNotFoundError:
        cure = "allow the download once" if offline else "check the connection"
        raise EngineError(f"{file} of {repo_id} is not on this machine and was not fetched; {cure}.") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise EngineError(f"{file} of {repo_id} could not be fetched: {str(error).splitlines()[0]}.") from None
    return Path(path)
