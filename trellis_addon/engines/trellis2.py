"""The TRELLIS.2 engine: the pipeline module makes voxels of a picture, finishing makes a GLB of the voxels."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.configuration import FAST_VARIABLE, FINISHING_VARIABLE, MEMORY_VARIABLE, configuration
from ..core.errors import EngineError, FieldError, MainMemoryError, TrellisError
from ..core.machine.awake import awake
from ..core.machine.device_faults import is_out_of_memory, why_lost
from ..core.messages import message
from ..core.progress import Progress
from ..formats.latents import Kept, check_latents, describe_making, whole_only
from ..task.settings import TRELLIS2_MODEL, Settings
from ..weights.eight_bits import asked_for
from .engine import Made, Order
from .memory_policy import Attempt, make_within_memory

if TYPE_CHECKING:
    from ..geometry.finish.finish import DenseAsset, FinishedAsset
    from ..pipeline.pipeline import Pipeline
    from ..pipeline.result import PipelineResult
    from ..pipeline.sample import Sample
    from ..pipeline.texturing import TexturingPipeline

P = TypeVar("P", bound="Pipeline")

log = logging.getLogger(__name__)

# What the pipeline and the finishing import, beyond what the extension brings along. (A cutout's own model says for
# itself what it lacks: `pipeline.mask`.)
PACKAGES = ("torch", "safetensors", "array_api_compat", "scipy", "warp")
_GIB = 2**30
# What sampling takes of the whole, as it is on a GPU.
_SAMPLING = 0.7


class Trellis2Engine:
    """`microsoft:trellis-2@4b` on this machine, from weights in a folder."""

    model = TRELLIS2_MODEL

    def __init__(self, weights: Path, device: str = "") -> None:
        self._weights = weights
        self._device = device
        self._pipeline: Pipeline | None = None
        self._texturing: TexturingPipeline | None = None  # the same weights, of which it takes others
        self._eight_bits = ""  # the kind of weights, where they are held in 8
        self._memory_share = 1.0  # of what is free, to plan with
        self._ahead: dict[tuple[object, ...], Sample] = {}  # shapes of results that will be asked for
        self._painting = self._finishing = 0.0  # seconds that the last result took from its shape on

    def generate(self, order: Order, progress: Progress) -> Made:
        """A GLB of the picture's subject; see `engines.engine.Engine`.

        The longest side of the model's cube is 1, its centre the origin; its front faces +Z, up is +Y. Where the
        device's memory does not suffice it is tried again, as `memory_policy` says; a lower resolution is told in the
        file's `asset.extras.notes`. Settings that the latents were made with hold where none are given. Raises
        `EngineError`, `LatentsError`, `Cancelled`.
        """
        if order.mesh is not None:
            return self._on_mesh(order, order.mesh, progress)
        latents, variation = order.latents, order.settings.get("variation")
        kept = None if latents is None else check_latents(latents)
        is_itself = variation == 0 and kept is not None
        if kept is not None:
            order = replace(order, settings=kept.settings.replace(rough=None).replace(**order.settings))
            if kept.is_rough and variation is not None:
                raise whole_only()
            if variation in (0, 1):  # neither is a variant: it is the asset itself, or one that has nothing of it
                order = replace(order, settings=order.settings.replace(variation=None))
            if variation == 1:
                order, kept = replace(order, latents=None), None
            elif is_itself:
                order = replace(order, image=None, seed=order.seed if kept.seed is None else kept.seed)
            elif order.image is not None and order.region is None and variation is None and not kept.is_rough:
                order = replace(order, settings=order.settings.replace(texture=None))  # to a shape alone it is added
        if order.settings.value("rough"):
            return self._rough(order, progress)
        if order.settings.value("quads") is not None:
            from ..geometry.quads.quads import demand_remesher

            demand_remesher()  # before minutes of sampling

        def make(attempt: Attempt) -> Made:
            made = self._make(order, attempt, kept, progress.siblings)
            return replace(made, latents=latents) if is_itself else made

        def release() -> None:
            progress.take_device()  # the next attempt needs it, wherever the last one failed
            self.release()

        with awake("making an asset"):
            # The resolution of kept latents is settled, unless they are no more than a rough shape.
            return make_within_memory(make, order.settings, progress, release, may_lower=kept is None or kept.is_rough)

    def _rough(self, order: Order, progress: Progress) -> Made:
        """The rough shape alone, as blocks, and what goes on from it; those of the siblings are sampled along."""

        def make(attempt: Attempt) -> Made:
            from ..formats.glb.write import write_glb
            from ..geometry.voxels.blocks import GREY, blocks
            from ..pipeline.pipeline import rough_of
            from ..pipeline.result import to_numpy

            self._memory_share = attempt.share
            siblings = {} if attempt.is_again else progress.siblings
            pipeline = self._pipeline_loaded(attempt.progress)
            with _device_of(pipeline):
                sample = self._sample(pipeline, order, attempt.progress, siblings)
                rough = rough_of(sample)
            extras = {"engine": self.model, "seed": order.seed, "settings": order.settings.to_request()}
            glb = write_glb(blocks(to_numpy(rough.coords)[:, 1:], sample.request.structure_side), GREY, extras)
            facts = {"device": _name_of(pipeline), "peakMemory": _peak_memory(pipeline)}
            return Made(glb, rough.to_bytes(made=describe_making(order.seed, order.settings, ())), facts)

        def release() -> None:
            progress.take_device()
            self.release()

        with awake("making an asset"):
            return make_within_memory(make, order.settings, progress, release, may_lower=False)

    def _on_mesh(self, order: Order, mesh: bytes, progress: Progress) -> Made:
        """The mesh's own file, textured from the picture."""
        from .retexture import retexture

        picture = order.image
        if picture is None:
            raise EngineError("There is no picture to texture the mesh from.")

        def make(attempt: Attempt) -> Made:
            pipeline = self._texturing_pipeline()
            pipeline.memory_share = attempt.share
            told = {"engine": self.model, "seed": order.seed, "settings": order.settings.to_request()}
            with _device_of(pipeline):
                made = retexture(
                    pipeline, mesh, picture, order.views, attempt.settings, order.seed, told, attempt.progress
                )
            facts = {
                "device": _name_of(pipeline),
                "peakMemory": _peak_memory(pipeline),
                "resolution": made.resolution,
                "notes": [*attempt.notes, *made.notes],
            }
            return Made(made.glb, facts=facts)

        def release() -> None:
            progress.take_device()
            self.release()

        with awake("texturing a mesh"):
            return make_within_memory(make, order.settings, progress, release)

    def _make(self, order: Order, attempt: Attempt, kept: Kept | None, siblings: Mapping[int, Progress]) -> Made:
        """With the settings of the attempt, whose notes say what is done otherwise than ordered. `kept` is what the
        order's latents tell."""
        import numpy as np

        from ..geometry.voxels.picture import points_picture

        settings, progress, self._memory_share = attempt.settings, attempt.progress, attempt.share
        seed, region = order.seed, order.region
        result = self.voxels(
            replace(order, settings=settings),
            progress.part(0.0, _SAMPLING),
            is_lowered=attempt.is_lowered,
            siblings={} if attempt.is_again else siblings,
        )
        notes = (kept.notes if kept is not None else ()) + attempt.notes + result.notes
        for note in attempt.notes + result.notes:
            log.warning("%s", note)
        first_seed: int | None = seed
        if kept is not None and not kept.is_rough and settings.get("variation") is None:
            first_seed = kept.seed if kept.shape_seed is None else kept.shape_seed
        provenance = {
            "engine": self.model,
            "seed": seed,
            **({} if first_seed in (None, seed) else {"shapeSeed": first_seed}),
            **({"roughSeed": kept.seed} if kept is not None and kept.is_rough and kept.seed != seed else {}),
            "settings": order.settings.to_request(),
            "resolution": result.resolution,
            "notes": list(notes),
            **({"change": region.to_json()} if region is not None else {}),
            **({"fast": True} if self._pipeline is not None and self._pipeline.is_fast else {}),
            **({"eightBits": self._eight_bits} if self._eight_bits else {}),
        }
        assert self._pipeline is not None
        facts = {
            "device": _name_of(self._pipeline),
            "peakMemory": _peak_memory(self._pipeline),
            "resolution": result.resolution,
            "notes": list(notes),
            "eightBits": self._eight_bits or None,
        }
        made = describe_making(seed, order.settings, notes, first_seed)
        asset, sampled = dense_asset(result), result.latents.to_bytes(made=made)
        colours = np.asarray(asset.attributes, np.float32)[:, :3]
        progress.picture(lambda: points_picture(asset.vertices, colours))
        del result
        progress.leave_device()  # from here on the next picture is sampled
        began = time.perf_counter()
        where = _finishing_device(self._pipeline)
        finished = _finished(asset, settings, provenance, progress.part(_SAMPLING, 1.0), where)
        self._finishing = time.perf_counter() - began
        return Made(finished.glb, sampled, facts)

    def voxels(
        self,
        order: Order,
        progress: Progress,
        *,
        is_lowered: bool = False,
        siblings: Mapping[int, Progress] | None = None,
    ) -> PipelineResult:
        """What finishing starts from: sampled of a picture, or of kept latents, with their texture sampled again where
        there is a picture as well. Raises as `generate` does, and `DeviceMemoryError` at once where the memory does not
        suffice."""
        latents = order.latents
        rough = latents if latents is not None and check_latents(latents).is_rough else None
        if rough is not None and (order.image is None or order.region is not None):
            raise whole_only()
        pipeline = self._pipeline_loaded(progress)
        with _device_of(pipeline):
            if latents is None or rough is not None:
                sample = self._sample(pipeline, order, progress, siblings or {}, is_lowered=is_lowered, rough=rough)
                began = time.perf_counter()
                result = pipeline.paint(sample)
                self._painting = time.perf_counter() - began
                return result
            return _voxels_of_kept(pipeline, latents, order, progress)

    def _pipeline_loaded(self, progress: Progress) -> Pipeline:
        """The pipeline for pictures, which has the device to itself."""
        if not self._ahead:  # else it may have come further already
            progress.update("Loading the model", 0.0)
        if self._texturing is not None:
            self._texturing.store.clear()
        if self._pipeline is None:
            from ..pipeline.pipeline import Pipeline

            self._pipeline = self._load(Pipeline)
        self._pipeline.memory_share = self._memory_share
        return self._pipeline

    def _sample(
        self,
        pipeline: Pipeline,
        order: Order,
        progress: Progress,
        siblings: Mapping[int, Progress],
        *,
        is_lowered: bool = False,
        rough: bytes | None = None,
    ) -> Sample:
        """The shape that the picture comes to with its seed, from where `rough` ended, or only as far as that goes.

        Rough shapes are sampled for the siblings as well. Else, where the networks do not fit onto the device all at
        once, the siblings' shapes are, stage by stage, so that each network is read once for all of them. Their
        textures are not: while one result is finished, the next is painted. Where that has taken less time than
        finishing, nothing is sampled ahead: then all of sampling is needed to hide the finishing.
        """
        from ..pipeline.result import Rough

        image, settings, views = order.image, order.settings, order.views
        if image is None:
            raise EngineError("There is neither a picture nor latents to make an asset of.")
        pictures = {"": image, **views}
        digests = tuple((name, each.size, hashlib.sha256(each.tobytes()).digest()) for name, each in pictures.items())

        def key(seed: int) -> tuple[object, ...]:
            begun = hashlib.sha256(rough).digest() if rough is not None else b""
            return (digests, begun, repr(sorted(settings.items())), is_lowered, seed)

        sample = self._ahead.pop(key(order.seed), None)
        if sample is not None:
            return sample
        self._ahead.clear()
        told = {order.seed: progress}
        if settings.value("rough"):
            samples = pipeline.rough_all(image, settings, {**told, **siblings}, views=views)
        else:
            if siblings and self._finishing <= self._painting and pipeline.loads_again(settings):
                told |= {other: handle.part(0.0, _SAMPLING) for other, handle in siblings.items()}
            start = Rough.from_bytes(rough) if rough is not None else None
            samples = pipeline.shape_all(image, settings, told, is_lowered=is_lowered, views=views, rough=start)
        sample = samples.pop(order.seed)
        self._ahead.update((key(other), ahead) for other, ahead in samples.items())
        return sample

    def release(self) -> None:
        """Drop every network and give the device's memory back."""
        self._ahead.clear()
        for pipeline in (self._pipeline, self._texturing):
            if pipeline is not None:
                pipeline.store.clear()

    def _texturing_pipeline(self) -> TexturingPipeline:
        """The pipeline for meshes, which has the device to itself."""
        if self._pipeline is not None:
            self._ahead.clear()
            self._pipeline.store.clear()
        if self._texturing is None:
            from ..pipeline.texturing import TexturingPipeline

            self._texturing = self._load(TexturingPipeline)
        return self._texturing

    def _load(self, kind: type[P]) -> P:
        from ..pipeline.device.store import choose_device, eight_bits_of

        device = self._device or configuration().device or "auto"
        asked = asked_for()
        self._eight_bits = eight_bits_of(choose_device(device), asked)
        if self._eight_bits != asked:
            log.warning("Weights are held as %s: %s is for NVIDIA's cards from RTX 40 on.", self._eight_bits, asked)
        pipeline = kind.from_folder(
            self._weights,
            device=device,
            memory_budget=memory_budget(),
            eight_bits=self._eight_bits,
        )
        pipeline.is_fast = is_fast()
        return pipeline


def _finished(
    asset: DenseAsset, settings: Settings, provenance: Mapping[str, Any], progress: Progress, device: str
) -> FinishedAsset:
    """The asset's file; where the device cannot do its share, all of it is the processor's.

    Where main memory is short it is tried once more, as another program may have left some by then. Raises
    `MainMemoryError` afterwards: sampling again with less of the device's would change nothing.
    """
    from ..geometry.finish.finish import finish

    def on(device: str) -> FinishedAsset:
        return finish(
            asset,
            decimation_target=settings.value("faces") or settings.value("decimation_target"),
            texture_size=settings.value("texture_size"),
            remesh=settings.value("remesh"),
            texture_format=settings.value("texture_format"),
            quads=settings.value("quads"),
            provenance=provenance,
            name="TRELLIS.2",
            progress=progress,
            device=device,
        )

    if device != "cpu":
        try:
            return on(device)
        except TrellisError:
            raise  # it says why, and would again
        except Exception as error:
            if why_lost(error):
                raise
            log.warning("%s cannot finish an asset, so the processor does: %s", device, error)
    try:
        return on("cpu")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.warning("Main memory was short while an asset was finished: %s", error)
    gc.collect()  # what the first try left, which the error held
    try:
        return on("cpu")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MainMemoryError(
            "This machine has not enough main memory to finish the asset; close other programs, or choose a lower "
            "resolution, fewer faces or smaller textures."
        ) from error


def _finishing_device(pipeline: Pipeline) -> str:
    """Where Warp's kernels of finishing run, by Warp's name.

    The processor unless `TRELLIS2_FINISHING` says otherwise: there the same seed gives the same bytes on every machine.
    Raises `FieldError`.
    """
    text = configuration().finishing.lower()
    if text not in ("", "cpu", "device"):
        raise FieldError(FINISHING_VARIABLE, configuration().finishing, "give cpu, or device")
    if text != "device" or pipeline.device.type != "cuda":
        return "cpu"
    import warp

    return f"cuda:{pipeline.device.index or 0}" if warp.is_cuda_available() else "cpu"


def dense_asset(result: PipelineResult) -> DenseAsset:
    """What finishing takes."""
    from ..geometry.finish.finish import DenseAsset

    return DenseAsset(
        result.vertices, result.faces, result.coords, result.attributes, result.resolution, result.intersected
    )


def _voxels_of_kept(pipeline: Pipeline, latents: bytes, order: Order, progress: Progress) -> PipelineResult:
    from ..pipeline.change import change
    from ..pipeline.result import Latents
    from ..pipeline.vary import vary

    kept = Latents.from_bytes(latents)
    image, settings, seed, views = order.image, order.settings, order.seed, order.views
    if image is None:
        return pipeline.decode(kept, progress)
    variation = settings.get("variation")
    if variation is not None:
        return vary(pipeline, kept, variation, image, settings, seed, progress, views=views)
    if order.region is not None:
        return change(pipeline, kept, order.region, image, settings, seed, progress, views=views)
    return pipeline.retexture(kept, image, settings, seed, progress, views=views)


@contextmanager
def _device_of(pipeline: Pipeline) -> Iterator[None]:
    """The pipeline's device as this thread's own, from which its peak of memory is measured."""
    if pipeline.device.type != "cuda":
        yield
        return
    import torch

    with torch.cuda.device(pipeline.device):
        torch.cuda.reset_peak_memory_stats()
        yield


def _peak_memory(pipeline: Pipeline) -> int | None:
    """The most bytes of the device that were taken; None where it does not say."""
    if pipeline.device.type != "cuda":
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(pipeline.device))


def _name_of(pipeline: Pipeline) -> str:
    """The device's name for people."""
    if pipeline.device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(pipeline.device)
    return {"cpu": "CPU", "mps": "Apple GPU"}.get(pipeline.device.type, pipeline.device.type)


def memory_budget() -> int | None:
    """The bytes that `TRELLIS2_MEMORY` allows of the device; None is all that is free."""
    text = configuration().memory
    if not text:
        return None
    try:
        gibibytes = float(text)
    except ValueError:
        gibibytes = 0.0
    if not 1.0 <= gibibytes <= 10_000:
        raise FieldError(MEMORY_VARIABLE, text, "give GiB, such as 12")
    return int(gibibytes * _GIB)


def is_fast() -> bool:
    """Whether `TRELLIS2_FAST` asks for sampling with fewer operations; raises `FieldError`."""
    return _is_asked(FAST_VARIABLE, configuration().fast, message("give 1 for fast, or 0"))


def _is_asked(variable: str, text: str, rule: str) -> bool:
    if text.lower() not in ("", "0", "1", "true", "false"):
        raise FieldError(variable, text, rule)
    return text.lower() in ("1", "true")


def check_packages(*names: str) -> None:
    """Raise `EngineError` where one of these packages of the local backend is not installed."""
    import importlib.util

    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            "{missing} is not installed here; install the local backend: pip install '.[local]'.", missing=list(missing)
        )
