"""The published files that TRELLIS.2 is run from: where they are, how large, their hashes, and what each is for.

Sizes and SHA-256 are those of the published revisions; where one is not known, the hub tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..core.errors import EngineError
from ..core.messages import message
from .licences import LICENCES

TRELLIS2 = "microsoft/TRELLIS.2-4B"
TRELLIS = "microsoft/TRELLIS-image-large"
DINOV3 = "facebook/dinov3-vitl16-pretrain-lvd1689m"  # gated: given to accounts that asked
DINOV3_OPEN = "timm/vit_large_patch16_dinov3_qkvb.lvd1689m"  # the same weights, with the biases, for all
BIREFNET = "onnx-community/BiRefNet-ONNX"
REVISIONS = {
    TRELLIS2: "af44b45f2e35a493886929c6d786e563ec68364d",
    TRELLIS: "25e0d31ffbebe4b5a97464dd851910efc3002d96",
    DINOV3: "ea8dc2863c51be0a264bab82070e3e8836b02d51",
    DINOV3_OPEN: "main",
    BIREFNET: "main",
}
RESOLUTIONS = (512, 1024, 1536)
MASK_FILE = "birefnet.onnx"


@dataclass(frozen=True)
class WeightFile:
    """A file of the folder of weights.

    `path` in the folder, with "/". `size` in bytes, None where nobody has told; `about` then is what to expect.
    `sha256` in hex, "" where unknown. `place` is the path in its `repository`.
    """

    path: str
    size: int | None = None
    sha256: str = ""
    repository: str = TRELLIS2
    place: str = ""
    about: int = 0

    @property
    def expected(self) -> int:
        return self.about if self.size is None else self.size

    @property
    def is_flow(self) -> bool:
        """Whether it has the weights of a flow model."""
        return "_flow_" in self.path and self.path.endswith(".safetensors")


@dataclass(frozen=True)
class Group:
    """Files that are fetched and removed together. Each of the `variants` does; the first is the preferred one."""

    key: str
    label: str
    purpose: str
    licence: str  # key of `licences.LICENCES`
    variants: tuple[tuple[WeightFile, ...], ...]
    is_optional: bool = False

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """The files of all variants."""
        return tuple(file for variant in self.variants for file in variant)

    @property
    def size(self) -> int:
        """Bytes to expect of the published files."""
        return sum(file.expected for file in self.variants[0])


def _model(stem: str, description: tuple[int | None, str], weights: tuple[int, str]) -> tuple[WeightFile, WeightFile]:
    return (
        WeightFile(f"ckpts/{stem}.json", *description, place=f"ckpts/{stem}.json", about=700),
        WeightFile(f"ckpts/{stem}.safetensors", *weights, place=f"ckpts/{stem}.safetensors"),
    )


def _elsewhere(
    repository: str, place: str, size: int | None, sha256: str, path: str = "", about: int = 0
) -> WeightFile:
    return WeightFile(path or f"{repository}/{place}", size, sha256, repository, place, about)


GROUPS = (
    Group(
        "core",
        message("Rough Shape and Decoders"),
        message("every resolution"),
        "trellis2",
        (
            (
                *_model(
                    "ss_flow_img_dit_1_3B_64_bf16",
                    (467, "6cdfb636854f60ffcadd8c49244169cd449f34c5ccdb55b5ff7c04678f9c399e"),
                    (2584426920, "ca01377c485bec418076d38ee80166d32dc776d744f2553b835cba1e97a7abf6"),
                ),
                *_model(
                    "shape_dec_next_dc_f16c32_fp16",
                    (678, "5f1b856dffce79466fb18f5f0eefc08f08c673b24b3c05b20359c0b6d318a209"),
                    (948490494, "e3b718d3e43e4f8780e9a24ac6fff231811a67e3b058e336e10fe654c911d581"),
                ),
                *_model(
                    "tex_dec_next_dc_f16c32_fp16",
                    (705, "22074e4ab5b28e2b72d33a3fe61bf416134b89e12d0fc5c729f37da75da0c4d1"),
                    (948458812, "97ea69addea2ecd9312910f5f548234665eef51c088386180b7cd5b258645e3c"),
                ),
                WeightFile(
                    "pipeline.json",
                    4186,
                    "222c359ab1ed9bc6735a640a34f95d47f8681b9bc4aaa101bfb80274676253c6",
                    place="pipeline.json",
                ),
            ),
        ),
    ),
    Group(
        "structure",
        "Sparse Structure Decoder",
        message("every resolution"),
        "trellis",
        (
            (
                _elsewhere(
                    TRELLIS,
                    "ckpts/ss_dec_conv3d_16l8_fp16.json",
                    245,
                    "646781293f1cda74720de85d1cef50a957fb4aebd9a4bd014e454e32f2330ac5",
                ),
                _elsewhere(
                    TRELLIS,
                    "ckpts/ss_dec_conv3d_16l8_fp16.safetensors",
                    147591972,
                    "1c76d4a40519aa2d711cc263a8404105231ac26db31d946bed48b84fee79009a",
                ),
            ),
        ),
    ),
    Group(
        "dinov3",
        "DINOv3 Image Features",
        message("every resolution"),
        "dinov3",
        (
            (
                _elsewhere(
                    DINOV3,
                    "config.json",
                    745,
                    "135ecd23e34a70b6fbed8b083fdecb319b7e3a54e3d849258bbe4ddcf1783bb5",
                ),
                _elsewhere(
                    DINOV3,
                    "model.safetensors",
                    1212559808,
                    "dcb2e45127cccbf1601e5f42fef165eea275c8e5213197e8dcf3f48822718179",
                ),
            ),
            (
                _elsewhere(DINOV3_OPEN, "config.json", None, "", about=700),
                _elsewhere(DINOV3_OPEN, "model.safetensors", None, "", about=1212500000),
            ),
        ),
    ),
    Group(
        "shape_512",
        message("Shape at 512"),
        message("every resolution"),
        "trellis2",
        (
            _model(
                "slat_flow_img2shape_dit_1_3B_512_bf16",
                (458, "ddbd7a1d34ce9a8e7af2f6ef9ae686d9ab49f69e62dacb98d8409b511cdbd5e2"),
                (2584574424, "ec5e0917ef9b7e25ad51dffc7d19687a42019871f94239f2fa7f86264c55b70f"),
            ),
        ),
    ),
    Group(
        "texture_512",
        message("Texture at 512"),
        "resolution 512",
        "trellis2",
        (
            _model(
                "slat_flow_imgshape2tex_dit_1_3B_512_bf16",
                (458, "3093796257a62f838d2e5578ac4580ca3b7d88d10b87d348065d3fdfcc4c2077"),
                (2584672728, "8371aa1c5d13be79dcd5ddfd2cf3835e902e204dc34427169a1c702828e1a94d"),
            ),
        ),
    ),
    Group(
        "shape_1024",
        message("Shape at 1024"),
        message("resolutions 1024 and 1536"),
        "trellis2",
        (
            _model(
                "slat_flow_img2shape_dit_1_3B_1024_bf16",
                (458, "7ebd6d367393f52fee9e92c2b3d727a9026a338549c6a6fa84c7ea122140ffdd"),
                (2584574424, "07cd0596f634c5adc1890023d16023afc5eed02fb84b22bb23aff5bf0030fbbd"),
            ),
        ),
    ),
    Group(
        "texture_1024",
        message("Texture at 1024"),
        message("resolutions 1024 and 1536"),
        "trellis2",
        (
            _model(
                "slat_flow_imgshape2tex_dit_1_3B_1024_bf16",
                (458, "31f4fdad9974930e5e9324ac9dfb6ef7de6b30cea51854ba515ef827a8d353b2"),
                (2584672728, "580401269059a339b8318ab9ced459a13ba63391721c83a6c383198c29e77686"),
            ),
        ),
    ),
    Group(
        "mask",
        "BiRefNet Mask",
        message("pictures without transparency before a busy background"),
        "birefnet",
        (
            (
                _elsewhere(
                    BIREFNET,
                    "onnx/model.onnx",
                    972666916,
                    "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
                    path=MASK_FILE,
                ),
            ),
        ),
        is_optional=True,
    ),
    Group(
        "texturing",
        "Shape Encoder",
        message("texturing a mesh of your own"),
        "trellis2",
        (
            (
                *_model(
                    "shape_enc_next_dc_f16c32_fp16",
                    (None, ""),
                    (708797208, "f37c5ff5b983b68e9946060000f09bc131f3e84318a2c8b7430a81e4b4636c41"),
                ),
                WeightFile("texturing_pipeline.json", place="texturing_pipeline.json", about=4000),
            ),
        ),
        is_optional=True,
    ),
)
BY_KEY: Mapping[str, Group] = {group.key: group for group in GROUPS}
GROUP_OF_PATH: Mapping[str, str] = {file.path: group.key for group in GROUPS for file in group.files}

# The pipeline's name of a network -> the group that it is in.
GROUP_OF_MODEL: Mapping[str, str] = {
    "image_cond_model": "dinov3",
    "sparse_structure_flow_model": "core",
    "sparse_structure_decoder": "structure",
    "shape_slat_flow_model_512": "shape_512",
    "shape_slat_flow_model_1024": "shape_1024",
    "shape_slat_decoder": "core",
    "tex_slat_flow_model_512": "texture_512",
    "tex_slat_flow_model_1024": "texture_1024",
    "tex_slat_decoder": "core",
    "shape_slat_encoder": "texturing",
}
_ALWAYS = (
    "image_cond_model",
    "sparse_structure_flow_model",
    "sparse_structure_decoder",
    "shape_slat_decoder",
    "tex_slat_decoder",
)
_CASCADE = (*_ALWAYS, "shape_slat_flow_model_512", "shape_slat_flow_model_1024", "tex_slat_flow_model_1024")
# Pipeline type -> the networks that it runs. A cascade begins with the shape at 512.
MODELS_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "512": (*_ALWAYS, "shape_slat_flow_model_512", "tex_slat_flow_model_512"),
    "1024": (*_ALWAYS, "shape_slat_flow_model_1024", "tex_slat_flow_model_1024"),
    "1024_cascade": _CASCADE,
    "1536_cascade": _CASCADE,
}
_TYPE_OF_RESOLUTION = {512: "512", 1024: "1024_cascade", 1536: "1536_cascade"}


def catalogue() -> tuple[Group, ...]:
    """All groups, in the order to show them in."""
    return GROUPS


def needed(resolutions: Iterable[int] = RESOLUTIONS, *, mask: bool = False, texturing: bool = False) -> tuple[str, ...]:
    """The keys of the groups that these resolutions need, 512, 1024 and 1536, in the catalogue's order.

    `mask` adds what cuts a subject out, `texturing` what puts a texture on a mesh of one's own. Raises `EngineError`.
    """
    wanted = {"mask"} if mask else set()
    wanted |= {"texturing"} if texturing else set()
    for resolution in resolutions:
        if resolution not in _TYPE_OF_RESOLUTION:
            raise EngineError(
                "There are no weights for resolution {resolution}; choose 512, 1024 or 1536.", resolution=resolution
            )
        wanted |= {GROUP_OF_MODEL[name] for name in MODELS_OF_TYPE[_TYPE_OF_RESOLUTION[resolution]]}
    return tuple(group.key for group in GROUPS if group.key in wanted)


def group_of(key: str) -> Group:
    """A group by its key; raises `EngineError`."""
    if key not in BY_KEY:
        raise EngineError(
            'There is no group of weights "{key}"; it is one of {allowed}.', key=key, allowed=list(BY_KEY)
        )
    return BY_KEY[key]


def missing_model(name: str, folder: object, place: str = "") -> EngineError:
    """The error of a network that is not among the weights in `folder`: what it is for, and how to come by it."""
    group = BY_KEY[GROUP_OF_MODEL[name]]
    accept = f" --accept {group.licence}" if LICENCES[group.licence].must_accept else ""
    return EngineError(
        'The model {model} is missing in {folder}; it is needed for {purpose}. Download "{label}" in Preferences > '
        "Local GPU, or with: {command} .",
        model=f"{name} ({place})" if place else name,
        folder=folder,
        purpose=group.purpose,
        label=group.label,
        command=f"python -m trellis_addon local weights fetch --group {group.key}{accept}",
    )
