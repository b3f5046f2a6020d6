"""A new material for a mesh: its own voxels come back, and the matrix says where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import EngineError, InputError  # noqa: E402
from trellis_addon.pipeline.device.memory import Budget  # noqa: E402
from trellis_addon.pipeline.texturing import TexturingPipeline, to_model_frame  # noqa: E402

CUBE = np.array([[x, y, z] for x in (2.0, 4) for y in (0.0, 6) for z in (1.0, 2)])
FACES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> TexturingPipeline:
    return TexturingPipeline.from_folder(make_small(tmp_path_factory.mktemp("small")), device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    image = Image.new("RGBA", (60, 60))
    image.paste((200, 40, 60, 255), (10, 10, 50, 50))
    return image


def test_matrix_fits_the_mesh_into_the_cube_with_z_up() -> None:
    matrix = to_model_frame(CUBE)
    placed = CUBE @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(placed.max(axis=0), [1 / 6, 1 / 12, 0.5], atol=1e-5)
    np.testing.assert_allclose(placed.min(axis=0), -placed.max(axis=0), atol=1e-12)
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 1, 0], [0, 0, 0.99999 / 6])  # up stays up
    with pytest.raises(InputError, match="no extent"):
        to_model_frame(np.ones((3, 3)))
    with pytest.raises(InputError, match="finite"):
        to_model_frame(np.array([[np.nan, 0, 0]]))


def test_material_lies_on_the_meshs_own_voxels(pipeline: TexturingPipeline, picture: Image.Image) -> None:
    settings = {"resolution": 512, "tex_slat_steps": 1}
    small = CUBE / [1, 60, 20]  # few voxels
    result = pipeline.texture_mesh(small, FACES, picture, settings, seed=1)
    assert result.resolution == 512 and result.attributes.shape == (len(result.coords), 6)
    assert np.isfinite(result.attributes).all() and len(np.unique(result.coords, axis=0)) == len(result.coords)
    centres = (result.coords + 0.5) / 512 - 0.5
    corners = small @ result.matrix[:3, :3].T + result.matrix[:3, 3]
    assert (centres > corners.min(axis=0) - 0.01).all() and (centres < corners.max(axis=0) + 0.01).all()


def test_too_little_memory_is_a_sentence(
    pipeline: TexturingPipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_measure", lambda: Budget(1000))
    with pytest.raises(EngineError, match="choose a lower resolution"):
        pipeline.texture_mesh(CUBE, FACES, picture, {"resolution": 512})
