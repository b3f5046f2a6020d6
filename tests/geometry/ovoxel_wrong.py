"""Copies of geometry cases with one thing wrong in each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]

DATA = Path(__file__).parents[1] / "data" / "geometry"


def _set(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    def apply(case: Arrays) -> None:
        case[name] = change(case[name].copy())

    return apply


def _shift(amount: float, rows: int | None = None) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[:rows] += amount
        return array

    return change


def _swap_columns(array: Any) -> Any:
    return array[:, [1, 0, 2]]


def _nan(array: Any) -> Any:
    array.reshape(-1)[0] = np.nan
    return array


def _rolled(array: Any) -> Any:
    return np.roll(array, 1, axis=0)


def _short(array: Any) -> Any:
    return array[:-3]


def _flip_first(array: Any) -> Any:
    array[0] = ~array[0]
    return array


def _without(name: str) -> Callable[[Arrays], None]:
    def apply(case: Arrays) -> None:
        del case[name]

    return apply


def _every(names: tuple[str, ...], change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    def apply(case: Arrays) -> None:
        for name in names:
            case[name] = change(case[name].copy())

    return apply


def _bright(array: Any) -> Any:
    return (array.astype(np.int64) * 0.9).astype(np.uint8)


def _twice(array: Any) -> Any:
    array[1] = array[0]
    return array


# (a name for the wrong copy, the case it is made of, what is done to it)
WRONG: list[tuple[str, str, Callable[[Arrays], None]]] = [
    ("fdg2mesh_a_vertex", "fdg2mesh_cube_aligned_16_rand", _set("mesh_vertices", _shift(1e-6, 1))),
    ("fdg2mesh_b_faces", "fdg2mesh_cube_aligned_16_rand", _set("mesh_faces", _rolled)),
    ("fdg2mesh_c_winding", "fdg2mesh_cube_aligned_16_none", _set("mesh_faces", _swap_columns)),
    ("fdg2mesh_d_flags", "fdg2mesh_cube_aligned_16_none", _set("intersected", _swap_columns)),
    ("fdg2mesh_e_rows", "fdg2mesh_cube_aligned_16_none", _set("mesh_vertices", _short)),
    ("fdg2mesh_f_nan", "fdg2mesh_cube_aligned_16_none", _set("mesh_vertices", _nan)),
    ("fdg2mesh_g_weights", "fdg2mesh_two_planes_16_rand", _set("split_weight", lambda a: 1 / a)),
    ("fdg2mesh_h_missing", "fdg2mesh_two_planes_16_rand", _without("aabb")),
    ("fdg2mesh_i_no_grid", "fdg2mesh_two_planes_16_rand", _without("grid_size")),
    ("fdg2mesh_j_train", "fdg2mesh_cube_aligned_16_train", _set("split_weight", _shift(0.5, 40))),
    ("fdg2mesh_k_decoder", "fdg2mesh_random_decoderlike", _set("decoder_output", _shift(1e-3))),
    ("fdg2mesh_l_order", "fdg2mesh_cube_aligned_16_rand", _every(("coords", "dual_vertices", "intersected"), _rolled)),
    ("fdg2mesh_m_huge", "fdg2mesh_cube_aligned_16_rand", _set("grid_size", lambda a: np.array(10**12))),
    ("fdg2mesh_n_outside", "fdg2mesh_cube_aligned_16_rand", _set("coords", _shift(9))),
    ("fdg2mesh_o_text", "fdg2mesh_cube_aligned_16_rand", _set("mesh_faces", lambda a: a.astype(str))),
    ("m2fdg_a_vertex", "m2fdg_cube_rotated_16_tex", _set("dual_vertices", _shift(5e-3, 1))),
    ("m2fdg_b_many", "m2fdg_cube_rotated_16_tex", _set("dual_vertices", _shift(1e-3))),
    ("m2fdg_c_flags", "m2fdg_icosphere_16_tex", _set("intersected", _flip_first)),
    ("m2fdg_d_rows", "m2fdg_icosphere_16_tex", _every(("coords", "dual_vertices", "intersected"), _short)),
    ("m2fdg_e_short", "m2fdg_icosphere_16_tex", _set("intersected", _short)),
    ("m2fdg_f_nan", "m2fdg_icosphere_16_tex", _set("vertices", _nan)),
    ("m2fdg_g_nan", "m2fdg_icosphere_16_tex", _set("dual_vertices", _nan)),
    ("m2fdg_h_missing", "m2fdg_icosphere_16_tex", _without("boundary_weight")),
    ("m2fdg_i_weight", "m2fdg_two_planes_16_tex", _set("boundary_weight", lambda a: a * 0)),
    ("m2fdg_j_face_weight", "m2fdg_cube_rotated_16_tex", _set("face_weight", lambda a: a * 0)),
    ("m2fdg_k_twice", "m2fdg_cube_rotated_16_tex", _set("coords", _twice)),
    ("m2fdg_l_moved", "m2fdg_cube_rotated_16_tex", _set("vertices", _shift(0.01))),
    ("m2fdg_m_grid", "m2fdg_cube_rotated_16_tex", _set("grid_size", lambda a: a + 1)),
    ("m2fdg_p_fine", "m2fdg_cube_rotated_16_tex", _set("grid_size", lambda a: a * 4000)),
    ("m2fdg_n_faces", "m2fdg_cube_rotated_16_tex", _set("faces", lambda a: a[:-1])),
    ("m2fdg_o_index", "m2fdg_cube_rotated_16_tex", _set("faces", lambda a: a + 1)),
    ("volattr_a_texture", "volattr_cube_blend_16", _set("base_rgba", _bright)),
    ("volattr_b_turned", "volattr_cube_blend_16", _set("base_rgba", lambda a: a[::-1])),
    ("volattr_c_colour", "volattr_cube_opaque_16", _set("base_color", _rolled)),
    ("volattr_d_alpha", "volattr_cube_mask_16", _set("alpha_mode", lambda a: np.array("BLEND"))),
    ("volattr_e_missing", "volattr_cube_opaque_16", _without("mr")),
    ("volattr_f_expected", "volattr_cube_opaque_16", _without("normal")),
    ("volattr_g_rows", "volattr_cube_opaque_16", _set("metallic", _short)),
    ("volattr_h_uv", "volattr_cube_opaque_16", _set("uv", _shift(0.05))),
    ("volattr_i_factor", "volattr_cube_opaque_16", _set("roughness_factor", lambda a: a * 0.9)),
    ("volattr_j_nan", "volattr_cube_opaque_16", _set("uv", _nan)),
    ("grid_sample_a_value", "grid_sample_torus_32", _set("trilinear", _shift(1e-3, 1))),
    ("grid_sample_b_feats", "grid_sample_torus_32", _set("feats", _rolled)),
    ("grid_sample_c_nearest", "grid_sample_torus_32", _set("nearest_upstream_torch", _rolled)),
    ("grid_sample_d_missing", "grid_sample_torus_32", _without("weight_sum")),
    ("grid_sample_e_nan", "grid_sample_torus_32", _set("trilinear", _nan)),
    ("svo_a_bytes", "svo_torus_32", _set("svo", _rolled)),
    ("svo_b_cut", "svo_torus_32", _set("svo", _short)),
    ("svo_c_codes", "svo_torus_32", _set("codes_sorted", _shift(1, 1))),
    ("vxz_content_b_missing", "vxz_content", _without("coords")),
    ("vxz_content_c_rows", "vxz_content", _set("attr_vertices", _short)),
]


def write_wrong(folder: Path) -> list[str]:
    """Every wrong case, and files that are no files; the names that `check` must fail."""
    names = []
    for name, source, change in WRONG:
        with np.load(DATA / f"{source}.npz") as file:
            case = {key: file[key] for key in file.files}
        change(case)
        np.savez_compressed(folder / f"{name}.npz", **case)
        names.append(name)
    whole = (DATA / "fdg2mesh_two_planes_16_rand.npz").read_bytes()
    (folder / "fdg2mesh_y_cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "m2fdg_y_empty.npz").write_bytes(b"")
    middle = bytearray((DATA / "volattr_cube_opaque_16.npz").read_bytes())
    middle[len(middle) // 2] ^= 0xFF
    (folder / "volattr_y_bits.npz").write_bytes(bytes(middle))
    np.savez(folder / "fdg2mesh_y_pickle.npz", coords=np.array([{"a": 1}], dtype=object))
    np.savez(folder / "something_else.npz", numbers=np.arange(3))
    return names + ["fdg2mesh_y_cut", "m2fdg_y_empty", "volattr_y_bits", "fdg2mesh_y_pickle", "something_else"]
