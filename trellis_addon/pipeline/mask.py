"""Masks for pictures without useful alpha: what in them is the subject.

Two ways to find one. The studio mask needs nothing but a plain background. The other is BiRefNet (Zheng
et al., "Bilateral Reference for High-Resolution Dichotomous Image Segmentation", 2024; MIT), run by
onnxruntime from an ONNX file: a graph of known operators, with no code that came with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.configuration import MASK_MODEL_VARIABLE, configuration
from ..core.errors import EngineError, ImageError
from ..images.cutout import ADVICE
from ..weights.place import weights_folder

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..images import PreparedImage

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

MODEL_NAME, MODEL_FILE = "onnx-community/BiRefNet-ONNX", "onnx/model.onnx"  # where it is published, 0.9 GB
SIDE = 1024  # of what BiRefNet was trained on; for files that leave it open

# ImageNet's, of RGB in 0..1
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
_PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider")
_CPU = "CPUExecutionProvider"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SUBJECT_SHARE = (0.002, 0.98)  # of the picture: with less or more, the model has found nothing


class Mask(Protocol):
    def mask(self, image: Image) -> Floats:
        """The share of the subject in every pixel of an RGB picture: (height, width), in 0..1.

        Raises `ImageError` where no subject can be told, `EngineError` where the mask itself fails.
        """
        ...


class StudioMask:
    """The subject before a plain background; see `cutout`."""

    def mask(self, image: Image) -> Floats:
        from ..images.cutout import remove_studio_background

        alpha = remove_studio_background(image.convert("RGBA")).getchannel("A")
        return np.asarray(alpha, np.float32) / np.float32(255)


class BiRefNetMask:
    """BiRefNet from an ONNX file, with one input of shape (1, 3, height, width); its last output is the mask.

    `providers` are onnxruntime's; None is the accelerators that it has here, then the processor. Where an
    accelerator fails, the processor takes over. Raises `EngineError` for a missing, damaged or other file.
    """

    def __init__(self, path: Path, providers: Sequence[str] | None = None) -> None:
        if not path.is_file():
            raise EngineError(
                "There is no mask model {path}; download it, or correct {variable}.",
                path=path,
                variable=MASK_MODEL_VARIABLE,
            )
        self._path = path
        available = _onnxruntime(path).get_available_providers()
        wanted = [name for name in providers or _PROVIDERS if name in available]
        self._providers = [*wanted, *([] if _CPU in wanted else [_CPU])]
        self._open()

    def mask(self, image: Image) -> Floats:
        """See `Mask`."""
        from PIL import Image as PILImage

        height, width = self._size
        small = image.convert("RGB").resize((width, height), PILImage.Resampling.BILINEAR)
        colours = (np.asarray(small, np.float32) / 255 - _MEAN) / _DEVIATION
        found = _as_shares(self._run(colours.transpose(2, 0, 1)[None].astype(self._type)), self._path)
        shares = PILImage.fromarray(found).resize(image.size, PILImage.Resampling.BICUBIC)
        return np.clip(np.asarray(shares, np.float32), 0, 1)

    def _open(self) -> None:
        onnxruntime = _onnxruntime(self._path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: not what it thinks of each operator
        try:
            self._session = onnxruntime.InferenceSession(str(self._path), options, providers=self._providers)
        except Exception as error:  # of half a dozen classes, with nothing but Exception in common
            if self._fall_back(error):
                return
            raise EngineError(
                "The mask model {path} cannot be opened ({reason}): it is damaged, no ONNX file, or for a newer "
                "onnxruntime; download it again.",
                path=self._path,
                reason=_reason(error),
            ) from error
        inputs = self._session.get_inputs()
        self._size = _picture_size(inputs, self._path)
        self._type = _TYPES[inputs[0].type]

    def _run(self, picture: NDArray[Any]) -> NDArray[Any]:
        last = self._session.get_outputs()[-1].name
        try:
            return self._session.run([last], {self._session.get_inputs()[0].name: picture})[0]
        except Exception as error:
            if self._fall_back(error):
                return self._run(picture)
            raise EngineError(
                "The mask model {path} failed ({reason}).", path=self._path, reason=_reason(error)
            ) from error

    def _fall_back(self, error: Exception) -> bool:
        """Open it on the processor alone; False where that is what has failed."""
        if self._providers == [_CPU]:
            return False
        log.warning("The mask model fails on %s and runs on the processor: %s", self._providers[0], _reason(error))
        self._providers = [_CPU]
        self._open()
        return True


def model_file() -> Path | None:
    """The mask model of this machine: what `TRELLIS2_MASK_MODEL` names, or one among the weights; None without one.

    Among the weights it is `birefnet.onnx`, or the first ONNX file in the folder `birefnet`; or what was
    fetched from Hugging Face into the downloads' folder that the weights are in.
    """
    if named := configuration().mask_model:
        return Path(named)  # also where it is not there: that is to be told, not passed over
    folder = weights_folder()
    if folder is None:
        return None
    found = [folder / "birefnet.onnx", *sorted((folder / "birefnet").rglob("*.onnx"))]
    for parent in folder.parents:
        if parent.name.startswith("models--"):
            snapshots = parent.parent / f"models--{MODEL_NAME.replace('/', '--')}" / "snapshots"
            found += sorted(snapshots.glob("*/onnx/*.onnx"))
    return next((path for path in found if path.is_file()), None)


def find_mask(image: Image) -> Floats:
    """The mask of an RGB picture (height, width), in 0..1: the studio's where it is sure, else the model's.

    Raises `ImageError` where no subject can be told, with the model or for want of it. The model is not
    kept: the memory is the engine's.
    """
    try:
        return StudioMask().mask(image)
    except ImageError:
        path = model_file()
        if path is None:
            raise
    found = BiRefNetMask(path).mask(image)
    share = float((found > 0.5).mean())
    if not _SUBJECT_SHARE[0] <= share <= _SUBJECT_SHARE[1]:
        raise ImageError(
            "The image has no transparency, and the mask model finds no subject in it; {advice}.", advice=ADVICE
        )
    return found


def cut_out(picture: PreparedImage) -> PreparedImage:
    """The picture, which is opaque as yet, with its subject cut out; raises as `find_mask` does."""
    from PIL import Image as PILImage

    from ..images import prepare

    shares = find_mask(picture.rgba.convert("RGB"))
    alpha = PILImage.fromarray((shares * 255 + 0.5).astype(np.uint8))
    return prepare(picture.rgba, name=picture.name, sha256=picture.sha256, mask=alpha.convert("RGBA"))


def _onnxruntime(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            "The mask model {path} needs onnxruntime, which cannot be imported here; install it (pip install "
            "onnxruntime), or give an image with transparency.",
            path=path,
        ) from error
    return onnxruntime


def _picture_size(inputs: Sequence[Any], path: Path) -> tuple[int, int]:
    """The height and width that the model takes; raises `EngineError` for one that takes anything but a picture."""
    shape = inputs[0].shape if len(inputs) == 1 else []
    # what the file leaves open has a name, or none, in place of a number
    batch, channels, height, width = (n if isinstance(n, int) else 0 for n in (shape if len(shape) == 4 else [-1] * 4))
    if batch not in (0, 1) or channels not in (0, 3) or inputs[0].type not in _TYPES:
        takes = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs) or "nothing"
        raise EngineError(
            "The file {path} is no mask model: it takes {takes}, not one picture (1, 3, height, width); use the "
            "ONNX file of BiRefNet.",
            path=path,
            takes=takes,
        )
    return height or SIDE, width or SIDE


def _as_shares(output: NDArray[Any], path: Path) -> Floats:
    """A model's output as (height, width) in 0..1: some files end before the sigmoid, some after it."""
    found = np.asarray(output, np.float32)
    if found.ndim < 2 or found.size != found.shape[-1] * found.shape[-2] or not np.isfinite(found).all():
        raise EngineError(
            "The file {path} gives no usable mask but {dtype} of shape {shape}; use the ONNX file of BiRefNet.",
            path=path,
            dtype=output.dtype,
            shape=str(output.shape),
        )
    found = found.reshape(found.shape[-2:])
    if found.min() < -1e-3 or found.max() > 1 + 1e-3:  # room for the rounding of half precision
        found = 1 / (1 + np.exp(-np.clip(found, -30, 30)))
    return found


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
