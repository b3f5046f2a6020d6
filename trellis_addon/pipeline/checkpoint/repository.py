"""The published model repository: which files there are, what its JSON files say, and the networks they describe.

`pipeline.json` names eight models; a model P is P.json (class and sizes) beside P.safetensors. P lies in the repository
itself or in another one, then as owner/repository/path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...core.errors import EngineError
from ...weights.hub import hub_cache
from ...weights.published import missing_model
from ..networks.dinov3 import DinoConfig, DINOv3
from ..networks.latent_flow import SLatFlowModel
from ..networks.network import Network, parse, tell_unknown
from ..networks.structure_decoder import SparseStructureDecoder, StructureDecoderConfig
from ..networks.structure_flow import SparseStructureFlowModel
from ..networks.transformer import FlowConfig
from ..networks.vae_decoder import DecoderConfig, FlexiDualGridVaeDecoder, SparseUnetVaeDecoder
from ..networks.vae_encoder import EncoderConfig, FlexiDualGridVaeEncoder
from ..sampling.samplers import SamplerSettings, sampler_settings
from .dinov3_files import CLASS_NAME, MODEL_NAME, TIMM_NAME, from_timm, read_config
from .loading import load_network, read_json

MODEL_ID = "microsoft/TRELLIS.2-4B"
IMAGE_MODEL = "image_cond_model"

# class name in a model's JSON -> the network and its configuration
CLASSES: dict[str, tuple[type[Network], type[Any]]] = {
    "SparseStructureFlowModel": (SparseStructureFlowModel, FlowConfig),
    "SparseStructureDecoder": (SparseStructureDecoder, StructureDecoderConfig),
    "SLatFlowModel": (SLatFlowModel, FlowConfig),
    "FlexiDualGridVaeDecoder": (FlexiDualGridVaeDecoder, DecoderConfig),
    "SparseUnetVaeDecoder": (SparseUnetVaeDecoder, DecoderConfig),
    "FlexiDualGridVaeEncoder": (FlexiDualGridVaeEncoder, EncoderConfig),
}
# The class that each model of a pipeline must have.
MODELS = {
    "sparse_structure_flow_model": "SparseStructureFlowModel",
    "sparse_structure_decoder": "SparseStructureDecoder",
    "shape_slat_flow_model_512": "SLatFlowModel",
    "shape_slat_flow_model_1024": "SLatFlowModel",
    "shape_slat_decoder": "FlexiDualGridVaeDecoder",
    "tex_slat_flow_model_512": "SLatFlowModel",
    "tex_slat_flow_model_1024": "SLatFlowModel",
    "tex_slat_decoder": "SparseUnetVaeDecoder",
}
TEXTURING_MODELS = {
    "shape_slat_encoder": "FlexiDualGridVaeEncoder",
    "tex_slat_flow_model_512": "SLatFlowModel",
    "tex_slat_flow_model_1024": "SLatFlowModel",
    "tex_slat_decoder": "SparseUnetVaeDecoder",
}

_SAMPLERS = ("sparse_structure", "shape_slat", "tex_slat")
# The arguments of a pipeline's JSON: those that are read here, and those that say how the reference is to run.
_KNOWN = {
    "models",
    "image_cond_model",
    "rembg_model",
    "default_pipeline_type",
    "low_vram",
    "shape_slat_normalization",
    "tex_slat_normalization",
    *(f"{name}_sampler" for name in _SAMPLERS),
}


@dataclass(frozen=True)
class Sampler:
    """A sampler of pipeline.json: its defaults, and the path's sigma_min."""

    settings: SamplerSettings
    sigma_min: float


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of every channel of a latent."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, latent: torch.Tensor) -> torch.Tensor:
        """(N, C) as the decoders have it -> as the flow models have it."""
        mean, std = (torch.tensor(v, device=latent.device) for v in (self.mean, self.std))
        return (latent - mean) / std

    def undo(self, latent: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(v, device=latent.device) for v in (self.mean, self.std))
        return latent * std + mean


@dataclass(frozen=True)
class PipelineConfig:
    """What pipeline.json (or texturing_pipeline.json) says, apart from the places of files."""

    samplers: Mapping[str, Sampler]
    shape_normalization: Normalization
    texture_normalization: Normalization
    default_type: str = "1024_cascade"


class Repository:
    """A local copy of the model repository, or a Hugging Face snapshot of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise EngineError(
                "There is no model folder {folder}; download the model, or give another folder.", folder=self.folder
            )

    @cached_property
    def _pipeline(self) -> dict[str, Any]:
        return self._arguments("pipeline.json", "Trellis2ImageTo3DPipeline")

    @cached_property
    def _texturing(self) -> dict[str, Any]:
        return self._arguments("texturing_pipeline.json", "Texturing")

    @cached_property
    def config(self) -> PipelineConfig:
        return self._config(self._pipeline, "pipeline.json", _SAMPLERS)

    @cached_property
    def texturing_config(self) -> PipelineConfig:
        return self._config(self._texturing, "texturing_pipeline.json", ("tex_slat",))

    def stem(self, name: str) -> Path:
        """Where a model's files lie, without their endings."""
        texturing_only = name not in MODELS
        where = "texturing_pipeline.json" if texturing_only else "pipeline.json"
        models = (self._texturing if texturing_only else self._pipeline).get("models")
        place = models.get(name) if isinstance(models, dict) else None
        if not isinstance(place, str) or not place:
            raise EngineError(
                "{path} names no file for {name}; download the model again.", path=self.folder / where, name=name
            )
        return self._find(place, name)

    def description(self, name: str) -> tuple[type[Network], Any]:
        """The class of a model and its configuration, of its JSON."""
        if name == IMAGE_MODEL:
            return DINOv3, self._image_model()[0]
        path = self.stem(name).with_suffix(".json")
        data = read_json(path)
        wanted = {**MODELS, **TEXTURING_MODELS}[name]
        if data.get("name") != wanted:
            raise EngineError(
                '{path} describes a "{kind}" where {name} must be a {wanted}.',
                path=path,
                kind=data.get("name"),
                name=name,
                wanted=wanted,
            )
        network, config = CLASSES[wanted]
        return network, parse(config, data.get("args"), str(path))

    def load(
        self,
        name: str,
        device: torch.device,
        torso: torch.dtype | None = None,
        is_packed: bool = False,
        eight_bits: str = "",
    ) -> Network:
        """A model with its weights on `device`; `torso` overrides the 16-bit dtype that its JSON asks for, which its
        weights keep where `is_packed`. A kind of `eight_bits` is for those models that can be held so."""
        if name == IMAGE_MODEL:
            return self.load_image_model(device)
        network, config = self.description(name)
        path = self.stem(name).with_suffix(".safetensors")
        return load_network(lambda: network(config), path, device, torso, is_packed=is_packed, eight_bits=eight_bits)

    def load_image_model(self, device: torch.device) -> DINOv3:
        """DINOv3 with its weights on `device`."""
        config, is_timm, weights = self._image_model()
        renaming = (lambda shapes: from_timm(shapes, config, weights)) if is_timm else None
        return load_network(lambda: DINOv3(config), weights, device, renaming=renaming)

    def _image_model(self) -> tuple[DinoConfig, bool, Path]:
        folder = self.image_model_folder()
        weights = folder / "model.safetensors"
        return *read_config(folder / "config.json", weights), weights

    def image_model_folder(self) -> Path:
        """Where DINOv3 lies: the official files, or the ungated mirror's."""
        model = self._pipeline.get("image_cond_model")
        if not isinstance(model, dict) or model.get("name") != CLASS_NAME:
            raise EngineError(
                '{path} names no {kind} as "image_cond_model".', path=self.folder / "pipeline.json", kind=CLASS_NAME
            )
        arguments = model.get("args")
        name = arguments.get("model_name", MODEL_NAME) if isinstance(arguments, dict) else MODEL_NAME
        if not isinstance(name, str):
            raise EngineError(
                '{path}: the "model_name" of the image model must be a text.', path=self.folder / "pipeline.json"
            )
        for wanted in (name, TIMM_NAME):
            for place in self._places(f"{wanted}/model", ".safetensors"):
                return place.parent
        raise missing_model(IMAGE_MODEL, self.folder, f"{name}/model.safetensors")

    def _arguments(self, file: str, name: str) -> dict[str, Any]:
        """The arguments of a pipeline whose class has `name` in its own."""
        path = self.folder / file
        data = read_json(path)
        if name not in str(data.get("name")):
            raise EngineError(
                '{path} describes a "{kind}", not a {name}; this is another model.',
                path=path,
                kind=data.get("name"),
                name=name,
            )
        arguments = data.get("args")
        if not isinstance(arguments, dict):
            raise EngineError('{path} has no object "args"; download it again.', path=path)
        return arguments

    def _config(self, arguments: Mapping[str, Any], file: str, samplers: tuple[str, ...]) -> PipelineConfig:
        where = str(self.folder / file)
        tell_unknown(where, sorted(arguments.keys() - _KNOWN))
        default = arguments.get("default_pipeline_type", "1024_cascade")
        if not isinstance(default, str):
            raise EngineError('{where}: "default_pipeline_type" must be a text.', where=where)
        return PipelineConfig(
            {name: _sampler(arguments.get(f"{name}_sampler"), f"{where}: {name}_sampler") for name in samplers},
            _normalization(arguments.get("shape_slat_normalization"), f"{where}: shape_slat_normalization"),
            _normalization(arguments.get("tex_slat_normalization"), f"{where}: tex_slat_normalization"),
            default,
        )

    def _find(self, place: str, name: str) -> Path:
        for stem in self._places(place, ".safetensors"):
            return stem
        raise missing_model(name, self.folder, f"{place}.safetensors")

    def _places(self, place: str, ending: str) -> Iterator[Path]:
        """Where a model may lie, of the places where its weights do: here, beside here, in the downloads' folder."""
        parts = place.split("/")
        if ".." in parts or place.startswith("/") or any(sign in place for sign in "\\:\0"):
            raise EngineError(
                "{folder}: the model path {place} leads out of the folder.", folder=self.folder, place=place
            )
        places = [self.folder / place]
        if len(parts) > 2:
            owner, name, inner = parts[0], parts[1], "/".join(parts[2:])
            places += [self.folder / inner, self.folder / name / inner]
            places += [self.folder.parent / name / inner, self.folder.parent.parent / owner / name / inner]
            places += sorted(self._snapshots(owner, name, inner))
        for stem in places:
            if stem.parent.joinpath(stem.name + ending).is_file():
                yield stem.parent / stem.name

    def _snapshots(self, owner: str, name: str, inner: str) -> list[Path]:
        """Places in the Hugging Face downloads' folder: the one that this folder is part of, or the user's."""
        caches = [parent.parent for parent in self.folder.parents if parent.name.startswith("models--")]
        caches.append(hub_cache())
        return [path / inner for cache in caches for path in cache.glob(f"models--{owner}--{name}/snapshots/*")]


def _sampler(data: Any, where: str) -> Sampler:
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise EngineError("{where} must be an object with a name.", where=where)
    arguments = data.get("args", {})
    if isinstance(arguments, dict):
        tell_unknown(where, sorted(arguments.keys() - {"sigma_min"}))
    sigma_min = arguments.get("sigma_min", 1e-5) if isinstance(arguments, dict) else None
    if not isinstance(sigma_min, float | int) or isinstance(sigma_min, bool) or not 0 <= sigma_min < 1:
        raise EngineError('{where}: "sigma_min" must be a number from 0 to 1.', where=where)
    return Sampler(sampler_settings(data["name"], data.get("params", {}), where), float(sigma_min))


def _normalization(data: Any, where: str) -> Normalization:
    found = parse(Normalization, data, where, may_have_more=True)
    if len(found.mean) != len(found.std) or not found.mean or not all(value > 0 for value in found.std):
        raise EngineError("{where} must hold as many means as positive standard deviations.", where=where)
    return found
