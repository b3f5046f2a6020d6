"""From a picture to a dense asset: the stages of TRELLIS.2 in their order, one method each.

image -> features -> sparse structure -> shape latent (-> finer voxels -> shape latent) -> texture latent -> asset
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from PIL import Image
from torch import Tensor

from ..core.errors import Cancelled, DeviceMemoryError, EngineError, LatentsError, TrellisError
from ..core.machine.device_faults import is_out_of_memory
from ..core.messages import message
from ..core.progress import Progress
from ..geometry.voxels.picture import voxels_picture
from ..task.views import FRONT, named_views
from ..weights.published import MODELS_OF_TYPE
from .checkpoint.repository import IMAGE_MODEL, PipelineConfig, Repository
from .costs import stage_parts
from .device.attention_choice import fastest_attention
from .device.fused_choice import fastest_blocks
from .device.memory import (
    GB,
    IMAGE_MODEL_PEAK,
    STRUCTURE_PEAK,
    VOXELS_PER_TOKEN,
    Budget,
    decoder_bytes,
    device_budget,
    flow_bytes,
    keep_within_card,
)
from .device.store import CheckpointSource, ModelStore, choose_device, device_precision
from .networks.dinov3 import DINOv3, to_input
from .networks.latent_flow import SLatFlowModel
from .networks.network import DTYPES, Network
from .networks.sparse import SparseTensor, VoxelGrid, unique_rows
from .networks.structure_decoder import SparseStructureDecoder, occupied_voxels
from .networks.structure_flow import SparseStructureFlowModel
from .networks.vae_decoder import FlexiDualGridVaeDecoder, SparseUnetVaeDecoder, to_material
from .numerics import exactly
from .precision import BFLOAT16
from .preprocess import preprocess_image, preprocess_views
from .request import Request, request_of
from .result import Latents, PipelineResult, Rough, on_cpu, to_numpy
from .sample import ROUGH_NETWORKS, Noise, Sample, course
from .sampling.denoise import Denoising, denoise_latent, denoise_structure
from .sampling.hold import Hold
from .sampling.samplers import SamplerSettings
from .sampling.views import Condition, context_length, on_grid, on_surface, pictures_of, views_of

log = logging.getLogger(__name__)

N = TypeVar("N", bound=Network)
R = TypeVar("R")
Measure = Callable[[], Budget]
Features = Mapping[int, Condition]  # side of the picture (512, 1024) -> tokens (1, L, C), or those of several views

UPSAMPLE = 4  # subdivisions from the latents' grid to the finest one: 16 times its side
COARSE_SIDE = 32  # of the grid that a cascade starts from
LOWEST = 1024  # resolution of a cascade, below which it is not one
STEP = 128  # by which a cascade's resolution falls
DENSER = 2  # than usual, an object may be for its number of tokens
FEWEST_VOXELS = 1 << 20  # that are tried even where hardly any memory is


class Pipeline:
    """One model on one device. Not thread-safe; networks are loaded when first used and kept while there is room."""

    def __init__(self, store: ModelStore, config: PipelineConfig, measure: Measure | None = None) -> None:
        """`measure` says before every run what the budget is; without it the store's own holds."""
        self.store = store
        self.config = config
        self.device = store.device
        self._measure = measure or (lambda: store.budget)
        self.memory_share = 1.0
        """Of the budget, what a run plans with: less than all of it where a run has come out of memory."""
        self.is_fast = False
        """Whether samplers reuse velocities (`configs.SamplerSettings.reuses`): another result, in fewer operations."""

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype | None = None,
        memory_budget: int | None = None,
        eight_bits: str = "",
    ) -> Self:
        """The model in a local copy of its repository.

        `device` "auto" is CUDA (or ROCm), else Metal, else the CPU. `dtype` of the networks' torsos: None is what suits
        the device (`precision`): what the checkpoints ask for, bfloat16 flows and float16 decoders, or float16, or
        float32. `memory_budget` in bytes; None is what is free on the device. With `eight_bits` the flow models'
        weights are held in 8, "int8" or "fp8". Raises `EngineError`.
        """
        where = choose_device(device) if isinstance(device, str) else device
        torso = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
        if isinstance(dtype, str) and torso is None:
            raise EngineError('There is no dtype "{dtype}"; use {allowed}.', dtype=dtype, allowed=list(DTYPES))
        is_packed = False
        if torso is None:
            suits = device_precision(where)
            torso = None if suits.flows == BFLOAT16 else DTYPES[suits.flows]  # None leaves the decoders' own type alone
            is_packed = suits.is_packed
        repository = Repository(Path(folder))
        budget = device_budget(where) if memory_budget is None else Budget(memory_budget)
        store = ModelStore(CheckpointSource(repository, where, torso, is_packed, eight_bits), where, budget)
        measure = (lambda: device_budget(where)) if memory_budget is None else None
        return cls(store, cls._config_of(repository), measure)

    @staticmethod
    def _config_of(repository: Repository) -> PipelineConfig:
        return repository.config

    def run(
        self,
        image: Image.Image,
        settings: Mapping[str, Any] | Request | None = None,
        seed: int = 42,
        progress: Progress | None = None,
        *,
        preprocess: bool = True,
        is_lowered: bool = False,
        views: Mapping[str, Image.Image] | None = None,
    ) -> PipelineResult:
        """The asset of a picture: RGBA with the subject cut out, or with `preprocess` False an RGB one on black.

        `settings` are the API's by their Python names (those not set are the model's own), or a whole `Request`.
        `is_lowered` says that more was asked for than the settings say, and did not fit: then nothing is demanded that
        belongs to the lower resolution alone. `views` are further pictures of the same object by the names of
        `task.views`; the picture is its front.
        The same seed gives the same noise on every device. `progress` is asked at every step. Raises `EngineError`,
        `ImageError` for a picture without a subject, `Cancelled`.
        """
        told = {seed: progress or Progress()}
        (sample,) = self.shape_all(
            image, settings, told, preprocess=preprocess, is_lowered=is_lowered, views=views
        ).values()
        return self.paint(sample)

    def shape_all(
        self,
        image: Image.Image,
        settings: Mapping[str, Any] | Request | None,
        seeds: Mapping[int, Progress],
        *,
        preprocess: bool = True,
        is_lowered: bool = False,
        views: Mapping[str, Image.Image] | None = None,
        rough: Rough | None = None,
    ) -> dict[int, Sample]:
        """The shapes of several results of one picture, stage by stage, so that each network is loaded once for all.

        Arguments and errors are those of `run`, whose progress each seed has for itself: what is left of each is
        `paint`. One that comes to nothing does not take the others with it: `paint` raises its error. They begin with
        the `rough` shape, where there is one: with its own seed comes what would have come of it at once.
        """
        request = replace(self.request(settings), is_lowered=is_lowered)
        self._demand_models(request)
        pictures = seen_pictures(image, views, preprocess)
        small = request.pipeline_type == "512" and not (is_lowered and self._painter()[0] == 1024)
        sides = (512,) if small else (512, 1024)
        self.store.expect(course(request, len(seeds), has_rough=rough is not None))
        skipped = () if rough is None else ("structure",)

        def attempt() -> dict[int, Sample]:
            parts = {seed: stage_parts(request, progress, without=skipped) for seed, progress in seeds.items()}
            features = self.encode_views(pictures, sides, next(iter(parts.values()))["image"])
            samples = {
                seed: Sample(request, features, Noise(seed, self.device), parts[seed], rough=rough) for seed in seeds
            }
            self._shape(tuple(samples.values()))
            return samples

        return self._within_budget(attempt)

    def rough_all(
        self,
        image: Image.Image,
        settings: Mapping[str, Any] | Request | None,
        seeds: Mapping[int, Progress],
        *,
        preprocess: bool = True,
        views: Mapping[str, Image.Image] | None = None,
    ) -> dict[int, Sample]:
        """The rough shapes alone of several results of one picture, each for `rough_of`; else as `shape_all`."""
        request = self.request(settings)
        for name in (IMAGE_MODEL, *ROUGH_NETWORKS):
            self.store.outline(name)
        pictures = seen_pictures(image, views, preprocess)
        self.store.expect((IMAGE_MODEL, *(name for name in ROUGH_NETWORKS for _ in seeds)))

        def attempt() -> dict[int, Sample]:
            parts = {seed: stage_parts(request, told, only=("image", "structure")) for seed, told in seeds.items()}
            features = self.encode_views(pictures, (512,), next(iter(parts.values()))["image"])
            samples = {seed: Sample(request, features, Noise(seed, self.device), parts[seed]) for seed in seeds}
            self._each((self._structure_one, self._occupy_one), tuple(samples.values()))
            return samples

        return self._within_budget(attempt)

    def paint(self, sample: Sample) -> PipelineResult:
        """The asset of a shape that was sampled with `shape_all`."""
        if sample.error is not None:
            raise sample.error
        return self._within_budget(lambda: self._paint(sample))

    def loads_again(self, settings: Mapping[str, Any] | Request | None) -> bool:
        """Whether a run with these settings loads networks that the run before it had: not all fit at once."""
        names = set(course(self.request(settings)))
        weights = sum(self.store.outline(name).weights for name in names)
        return weights > self.memory_share * self._measure().total

    def generate(
        self, features: Features, request: Request, seed: int = 42, progress: Progress | None = None
    ) -> PipelineResult:
        """The asset of image features: those at 512 always, those at 1024 unless the type is "512"."""
        self.store.expect(course(request))

        def attempt() -> PipelineResult:
            parts = stage_parts(request, progress or Progress())
            sample = Sample(request, features, Noise(seed, self.device), parts)
            self._shape((sample,))
            if sample.error is not None:
                raise sample.error
            return self._paint(sample)

        return self._within_budget(attempt)

    def retexture(
        self,
        latents: Latents,
        image: Image.Image,
        settings: Mapping[str, Any] | Request | None = None,
        seed: int = 42,
        progress: Progress | None = None,
        *,
        preprocess: bool = True,
        views: Mapping[str, Image.Image] | None = None,
    ) -> PipelineResult:
        """Another material on the same shape: only the texture is sampled again."""
        request = self.request(settings)
        self._check_latents(latents)
        # one that was lowered to 512 is painted again by what painted it first
        side, note = self._painter() if latents.pipeline_type == "512" else (1024, "")
        networks = (IMAGE_MODEL, f"tex_slat_flow_model_{side}", "shape_slat_decoder", "tex_slat_decoder")
        for name in networks:
            self.store.outline(name)
        self.store.expect(networks)
        pictures = seen_pictures(image, views, preprocess)

        def attempt() -> PipelineResult:
            parts = stage_parts(request, progress or Progress(), only=("image", "texture", "decode"))
            shape, coords = latents.shape.to(self.device), latents.coords.to(self.device)
            cond = self.encode_views(pictures, (side,), parts["image"])[side]
            cond = on_surface(cond, coords, latents.resolution // 16)
            noise = Noise(seed, self.device)
            texture = self.sample_texture(shape, coords, cond, side, request.texture, noise, parts["texture"])
            notes = (note,) if note else ()
            return self._decode(replace(latents, texture=on_cpu(texture)), notes, parts["decode"])

        return self._within_budget(attempt)

    def decode(self, latents: Latents, progress: Progress | None = None) -> PipelineResult:
        """The asset of latents that were kept, without sampling."""
        self._check_latents(latents)
        self.store.expect(("shape_slat_decoder", "tex_slat_decoder"))
        return self._within_budget(lambda: self._decode(latents, (), progress or Progress()))

    def request(self, settings: Mapping[str, Any] | Request | None) -> Request:
        """The arguments of a run for settings of the API, over the model's own defaults."""
        return settings if isinstance(settings, Request) else request_of(self.config, settings or {}, self.is_fast)

    def _demand_models(self, request: Request) -> None:
        """Raise `EngineError` where a network that this run will need is not there: before minutes of sampling.

        What it may need is there as well then: a cascade that falls back to 512 is painted by what there is.
        """
        needed = MODELS_OF_TYPE[request.pipeline_type]
        if request.pipeline_type == "512" and request.may_stand_in:
            needed = tuple(f"tex_slat_flow_model_{self._painter()[0]}" if "tex_slat_flow" in n else n for n in needed)
        for name in needed:
            self.store.outline(name)

    def _has(self, name: str) -> bool:
        try:
            self.store.outline(name)
        except EngineError:
            return False
        return True

    def _check_latents(self, latents: Latents) -> None:
        """Raise `LatentsError` for latents of a model of another kind."""
        for tensor, normal in (
            (latents.shape, self.config.shape_normalization),
            (latents.texture, self.config.texture_normalization),
        ):
            if tensor.shape[1] != len(normal.mean):
                raise LatentsError(
                    "The latents have {channels} channels, and this model's {expected}; go on with the model that "
                    "made them.",
                    channels=tensor.shape[1],
                    expected=len(normal.mean),
                )

    # The stages

    def encode_image(self, picture: Image.Image, sides: tuple[int, ...], progress: Progress) -> Features:
        """DINOv3 features of the picture at each size: (1, 5 + (side / 16)^2, C)."""
        progress.update("Looking at the image", 0)
        model = self._network(IMAGE_MODEL, DINOv3, IMAGE_MODEL_PEAK)
        return {side: model(to_input(picture, side)[None].to(self.device)) for side in sides}

    def encode_views(self, pictures: Mapping[str, Image.Image], sides: tuple[int, ...], progress: Progress) -> Features:
        """`encode_image` of each of the pictures, by view; a single one has no weights to be found."""
        found = {name: self.encode_image(picture, sides, progress) for name, picture in pictures.items()}
        if len(found) == 1:
            return next(iter(found.values()))
        return {side: views_of({name: pictures_of(seen[side])[0] for name, seen in found.items()}) for side in sides}

    def sample_structure(
        self, cond: Condition, side: int, sampler: SamplerSettings, noise: Noise, progress: Progress
    ) -> Tensor:
        """Where the object is: coordinates (N, 4) on a grid of `side` 32 or 64."""
        return self._occupied(self._structure(cond, sampler, noise, progress), side)

    def _structure(
        self,
        cond: Condition,
        sampler: SamplerSettings,
        noise: Noise,
        progress: Progress,
        *,
        hold: Hold | None = None,
    ) -> Tensor:
        """The latent of where the object is: (1, C, R, R, R). `hold` has a part of it stay."""
        name = "sparse_structure_flow_model"
        cells = self.store.outline(name).config.resolution
        model, together = self._flow(name, SparseStructureFlowModel, cells**3, cond)
        how = self._how("sparse_structure", sampler, together, progress, message("Finding the rough shape"), hold)
        start = self._structure_noise(cond, noise)
        return denoise_structure(model, start, on_grid(cond, model.grid(self.device), cells), how)

    def _structure_noise(self, cond: Condition, noise: Noise) -> Tensor:
        """What the structure is drawn from: (1, C, R, R, R)."""
        config = self.store.outline("sparse_structure_flow_model").config
        return noise(len(pictures_of(cond)[0]), config.in_channels, *(config.resolution,) * 3)

    def _occupied(self, z: Tensor, side: int) -> Tensor:
        """The coordinates (N, 4) that the structure's latent stands for."""
        logits = self._structure_decoder(SparseStructureDecoder)(z)
        coords = occupied_voxels(logits, max(1, logits.shape[-1] // side))
        if not len(coords):
            raise EngineError(
                "The model found no object in the image; check that the subject is cut out whole, or try another seed."
            )
        return coords

    def _structure_decoder(self, kind: type[N]) -> N:
        """What says which voxels a structure's latent stands for."""
        return self._network("sparse_structure_decoder", kind, STRUCTURE_PEAK)

    def sample_shape(
        self,
        coords: Tensor,
        cond: Condition,
        side: int,
        sampler: SamplerSettings,
        noise: Noise,
        progress: Progress,
        *,
        hold: Hold | None = None,
    ) -> Tensor:
        """The shape latent (N, C) on coords, as the decoder takes it; `side` 512 or 1024 chooses the model."""
        model, together = self._flow(f"shape_slat_flow_model_{side}", SLatFlowModel, len(coords), cond)
        how = self._how(
            "shape_slat",
            sampler,
            together,
            progress,
            message("Shaping") if side == 512 else message("Shaping in detail"),
            hold,
        )
        latent = denoise_latent(model, noise(len(coords), model.config.in_channels), coords, cond, how)
        return self.config.shape_normalization.undo(latent)

    def refine(
        self, shape: Tensor, coords: Tensor, request: Request, room: int, progress: Progress
    ) -> tuple[Tensor, int, str]:
        """The finer voxels of a cascade: coordinates (M, 4), the resolution they make, and a note when it is lower.

        The resolution falls in steps of 128 while there are too many voxels for the model, down to 1024 at least, or
        for the memory, which has `room` for so many. When even 1024 has too many, the coarse ones stay, with 512.
        """
        progress.update("Refining the voxels", 0)
        decoder = self._decoder("shape_slat_decoder", FlexiDualGridVaeDecoder, len(coords))
        fine = decoder.upsample(SparseTensor(shape, self._grid(coords)), UPSAMPLE, progress.check)
        places = (fine[:, 1:].float() + 0.5) / (COARSE_SIDE << UPSAMPLE)  # 0..1
        why = ""
        for resolution in range(request.resolution, LOWEST - 1, -STEP):
            finer, _ = unique_rows(torch.cat([fine[:, :1], (places * (resolution // 16)).int()], dim=1))
            if len(finer) > room:
                why = message(
                    "its voxels do not fit into {memory:.1f} GB of memory", memory=self.store.budget.total / GB
                )
            elif len(finer) >= request.max_tokens and resolution > LOWEST:
                why = message("it has more voxels than the model takes at once")
            else:
                break
        else:
            finer, resolution = coords, 512
        return (
            finer,
            resolution,
            why
            and message(
                "The object was made at {made} instead of {asked}: {why}.",
                made=resolution,
                asked=request.resolution,
                why=why,
            ),
        )

    def sample_texture(
        self,
        shape: Tensor,
        coords: Tensor,
        cond: Condition,
        side: int,
        sampler: SamplerSettings,
        noise: Noise,
        progress: Progress,
        *,
        hold: Hold | None = None,
    ) -> Tensor:
        """The texture latent (N, C) for a shape latent on the same rows, as the decoder takes it."""
        model, together = self._flow(f"tex_slat_flow_model_{side}", SLatFlowModel, len(coords), cond)
        how = self._how("tex_slat", sampler, together, progress, "Painting", hold)
        start = noise(len(coords), model.config.in_channels - shape.shape[1])
        concat = self.config.shape_normalization.apply(shape)
        return self.config.texture_normalization.undo(denoise_latent(model, start, coords, cond, how, concat))

    def _shape(self, samples: Sequence[Sample]) -> None:
        """All stages up to the shape, each for all samples before the next begins."""
        is_cascade = samples[0].request.is_cascade
        refining = (self._refine_one, self._detail_one) if is_cascade else ()
        rough = (self._structure_one, self._occupy_one) if samples[0].rough is None else (self._take_up_one,)
        self._each((*rough, self._demand_one, self._shape_one, *refining), samples)

    def _each(self, stages: Sequence[Callable[[Sample], None]], samples: Sequence[Sample]) -> None:
        """Each stage for all samples before the next begins.

        A sample draws its noise in the order of its own stages: it comes out as it would alone.
        """
        for stage in stages:
            for sample in samples:
                if sample.error is not None:
                    continue
                try:
                    stage(sample)
                except (Cancelled, DeviceMemoryError):
                    raise
                except TrellisError as error:
                    sample.error = error

    def _structure_one(self, sample: Sample) -> None:
        request, cond = sample.request, sample.features[512]
        sample.latent = self._structure(cond, request.structure, sample.noise, sample.parts["structure"])

    def _occupy_one(self, sample: Sample) -> None:
        request = sample.request
        coords = sample.coords = self._occupied(sample.latent, request.structure_side)
        look = sample.parts["structure"].picture
        look(lambda: voxels_picture(to_numpy(coords)[:, 1:], request.structure_side))
        sample.structure = on_cpu(sample.latent[0].flatten(1).T.contiguous())

    def _take_up_one(self, sample: Sample) -> None:
        """In place of the structure's stages, whose noise is drawn all the same: what comes after them is the same."""
        assert sample.rough is not None
        self._structure_noise(sample.features[512], sample.noise)
        sample.coords, sample.structure = sample.rough.coords.to(self.device), sample.rough.structure

    def _demand_one(self, sample: Sample) -> None:
        request = sample.request
        sample.side = sample.resolution = 1024 if request.pipeline_type == "1024" else 512
        kinds = ("shape",) if request.may_stand_in else ("shape", "tex")
        self._demand_room(len(sample.coords), sample.side, sample.features, kinds)

    def _shape_one(self, sample: Sample) -> None:
        self._sample_shape_of(sample, sample.parts["shape"])

    def _refine_one(self, sample: Sample) -> None:
        room = self._room(1024, sample.features)
        finer, sample.resolution, note = self.refine(
            sample.latent, sample.coords, sample.request, room, sample.parts["refine"]
        )
        sample.notes += (note,) if note else ()
        if sample.resolution > 512:
            sample.side, sample.coords = 1024, finer

    def _detail_one(self, sample: Sample) -> None:
        if sample.side == 1024:
            self._sample_shape_of(sample, sample.parts["detail"])

    def _sample_shape_of(self, sample: Sample, progress: Progress) -> None:
        side, cond = sample.side, on_surface(sample.features[sample.side], sample.coords, sample.resolution // 16)
        sample.latent = self.sample_shape(sample.coords, cond, side, sample.request.shape, sample.noise, progress)

    def _paint(self, sample: Sample) -> PipelineResult:
        """The stages from the shape on."""
        request, features, coords, notes = sample.request, sample.features, sample.coords, sample.notes
        painter, cond = sample.side, features[sample.side]
        if sample.side == 512 and request.may_stand_in:
            painter, note = self._painter()
            notes += (note,) if note else ()
            if painter == 1024 and len(coords) <= self._room(1024, features, ("tex",)):
                cond = features[1024]  # what that model knows, unless the image's keys alone are too large
        cond = on_surface(cond, coords, sample.resolution // 16)
        texture = self._no_texture(coords)
        if request.is_textured:
            texture = self.sample_texture(
                sample.latent, coords, cond, painter, request.texture, sample.noise, sample.parts["texture"]
            )
        kind = "512" if sample.resolution == 512 else request.pipeline_type
        latents = Latents(
            on_cpu(coords), on_cpu(sample.latent), on_cpu(texture), sample.resolution, kind, sample.structure
        )
        return self._decode(latents, notes, sample.parts["decode"])

    def _no_texture(self, coords: Tensor) -> Tensor:
        """What stands for the texture's latent where there is none yet: noughts, which no sampling comes to."""
        return torch.zeros(len(coords), len(self.config.texture_normalization.mean))

    def _painter(self) -> tuple[int, str]:
        """The side of the model that paints a run which was lowered to 512, and a note where it is another's.

        The model for 512 does not belong to what is fetched for higher resolutions, and the one for 1024 takes any
        voxels: better than giving up what minutes of sampling have made.
        """
        if self._has("tex_slat_flow_model_512"):
            return 512, ""
        return 1024, message(
            "The texture was painted by the model for 1024, because the one for 512 is not there; download it for "
            "better textures at 512."
        )

    def _decode(self, latents: Latents, notes: tuple[str, ...], progress: Progress) -> PipelineResult:
        from ..geometry.voxels.dual_grid import dual_grid_to_mesh

        progress.update("Building the surface", 0)
        grid = VoxelGrid(latents.coords.to(self.device), self.store.budget.workspace, self._most_voxels())
        shapes = self._decoder("shape_slat_decoder", FlexiDualGridVaeDecoder, len(grid))
        out = shapes(SparseTensor(latents.shape.to(self.device), grid), on_block=progress.check).out
        dual, coords = shapes.dual_grid(out.feats), out.coords[:, 1:]

        progress.update("Colouring the surface", 0.4)
        attributes = self._material(latents.texture, grid, progress) if latents.is_textured else plain(len(coords))
        del out, grid

        progress.update("Building the mesh", 0.8)
        vertices, faces = dual_grid_to_mesh(
            coords, dual.vertices, dual.intersected, dual.split_weight, grid_size=latents.resolution
        )
        if not len(faces):
            raise EngineError("The model made no surface from this image; try another seed, or a clearer picture.")
        progress.update("Building the mesh", 1)
        return PipelineResult(
            vertices=to_numpy(vertices),
            faces=to_numpy(faces.int()),
            coords=to_numpy(coords),
            attributes=to_numpy(attributes),
            resolution=latents.resolution,
            dual_vertices=to_numpy(dual.vertices),
            intersected=to_numpy(dual.intersected),
            split_weight=to_numpy(dual.split_weight),
            latents=latents,
            notes=notes,
        )

    def _material(self, texture: Tensor, grid: VoxelGrid, progress: Progress) -> Tensor:
        """The material of every voxel that the shape's decoder has made on the grid."""
        colours = self._decoder("tex_slat_decoder", SparseUnetVaeDecoder, len(grid))
        # no guides: the grid remembers how the shape decoder refined it, with the neighbours of every level
        return to_material(colours(SparseTensor(texture.to(self.device), grid), on_block=progress.check).out.feats)

    # Networks and the memory they need

    def _network(self, name: str, kind: type[N], activations: int = 0) -> N:
        network = self.store.use(name, activations)
        assert isinstance(network, kind), f"{name} is a {type(network).__name__}"
        return network

    def _flow(self, name: str, kind: type[N], tokens: int, cond: Condition) -> tuple[N, bool]:
        """A flow model with room for its tokens, and whether both branches of guidance go through it at once."""
        outline, context = self.store.outline(name), context_length(cond)
        together = self.store.budget.branches_together(
            outline.config, outline.weights, tokens, context, outline.itemsize
        )
        needed = flow_bytes(outline.config, tokens, context, outline.itemsize, 2 if together else 1)
        return self._network(name, kind, needed), together

    def _decoder(self, name: str, kind: type[N], tokens: int) -> N:
        outline, workspace = self.store.outline(name), self.store.budget.workspace
        return self._network(name, kind, decoder_bytes(outline.config, tokens, outline.itemsize, workspace))

    def _how(
        self,
        name: str,
        settings: SamplerSettings,
        together: bool,
        progress: Progress,
        stage: str,
        hold: Hold | None = None,
    ) -> Denoising:
        return Denoising(settings, self.config.samplers[name].sigma_min, together, progress, stage, hold)

    def _grid(self, coords: Tensor) -> VoxelGrid:
        return VoxelGrid(coords, self.store.budget.workspace)

    def _most_voxels(self) -> int:
        """What an object may be refined into: kept latents come from anywhere, and may ask for any number."""
        decoders = [self.store.outline(f"{kind}_slat_decoder") for kind in ("shape", "tex")]
        tokens = min(self.store.budget.decoder_tokens(o.config, o.weights, o.itemsize) for o in decoders)
        return max(DENSER * VOXELS_PER_TOKEN * tokens, FEWEST_VOXELS)

    def _room(self, side: int, features: Features, kinds: tuple[str, ...] = ("shape", "tex")) -> int:
        """The most tokens that the models of this side, of these kinds, and the decoders can take."""
        budget, context = self.store.budget, context_length(features[side])
        flows = [self.store.outline(f"{kind}_slat_flow_model_{side}") for kind in kinds]
        decoders = [self.store.outline(f"{kind}_slat_decoder") for kind in ("shape", "tex")]
        return min(
            *(budget.flow_tokens(o.config, o.weights, context, o.itemsize) for o in flows),
            *(budget.decoder_tokens(o.config, o.weights, o.itemsize) for o in decoders),
        )

    def _demand_room(self, tokens: int, side: int, features: Features, kinds: tuple[str, ...]) -> None:
        if tokens > self._room(side, features, kinds):
            raise EngineError(
                "The object has {voxels} voxels, which do not fit into {memory:.1f} GB of memory even at {side}; "
                "free memory on the device, raise the budget, or use another device.",
                voxels=tokens,
                memory=self.store.budget.total / GB,
                side=side,
            )

    def _within_budget(self, attempt: Callable[[], R]) -> R:
        """The attempt's result, planned within this run's share of the budget.

        Raises `DeviceMemoryError` where the device runs out of memory all the same, and leaves nothing on it then; what
        is tried next is up to the engine (`engines/memory_policy.py`).
        """
        keep_within_card(self.device)
        given = self._measure()
        planned = self.store.budget = Budget(int(self.memory_share * given.total))
        try:
            flows = DTYPES[device_precision(self.device).flows]
            with exactly(), fastest_attention(self.device, flows), fastest_blocks(self.device, flows):
                return attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("Out of memory: %s", error)
        finally:
            self.store.budget = given
        # Outside of the handler, whose error holds on to everything that the attempt had on the device.
        self.store.clear()
        raise DeviceMemoryError(
            "The device ran out of memory, of which {memory:.1f} GB were planned with; close other programs that "
            "use it, or choose a lower resolution.",
            memory=planned.total / GB,
        )


def rough_of(sample: Sample) -> Rough:
    """What `Pipeline.rough_all` has made of a seed; raises its error where it has come to nothing."""
    if sample.error is not None:
        raise sample.error
    assert sample.structure is not None
    return Rough(on_cpu(sample.coords), sample.structure)


def seen_pictures(
    image: Image.Image, views: Mapping[str, Image.Image] | None, preprocess: bool
) -> dict[str, Image.Image]:
    """The front and the views as the model sees them, in the order of their degrees."""
    pictures = {FRONT: image, **named_views(views or {})}
    if not preprocess:
        return {name: picture.convert("RGB") for name, picture in pictures.items()}
    return {FRONT: preprocess_image(image)} if len(pictures) == 1 else preprocess_views(pictures)


def plain(voxels: int) -> Tensor:
    """The material of a shape alone: a light, matt grey, on which a form is seen best; see `PipelineResult`."""
    return torch.tensor([0.6, 0.6, 0.6, 0.0, 0.8, 1.0]).repeat(voxels, 1)
