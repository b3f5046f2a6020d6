"""The comparison with golden fixtures: right ones pass, wrong ones fail in a line, whatever is wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file  # noqa: E402

from devtools.pipeline.check import check_fixture, main  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "data" / "model"
CPU = torch.device("cpu")
Change = Callable[[dict[str, Any], dict[str, Any]], None]


def rewritten(folder: Path, name: str, change: Change, listed: bool = True) -> Path:
    """A copy of a golden fixture after `change(tensors, json)`, whose list of tensors fits it again when `listed`."""
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    data = json.loads((GOLDEN / f"{name}.json").read_text())
    change(tensors, data)
    if listed:
        data["tensors"] = {key: [list(tensor.shape), str(tensor.dtype)] for key, tensor in tensors.items()}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def test_golden_fixtures_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(GOLDEN)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == [
        "dinov3",
        "rope",
        "samplers",
        "slat_flow_tex",
        "sparse_vae_blocks",
        "submanifold_conv3d",
    ]
    assert all(" pass" in line for line in lines)


def test_one_sample_of_two_passes(tmp_path: Path) -> None:
    """Other numbers of samples and rows than the golden file's."""

    def only_second(tensors: dict[str, Any], data: dict[str, Any]) -> None:
        rows = tensors["in.coords"][:, 0] == 1
        for key in [key for key in tensors if not key.startswith("weights.")]:
            tensors[key] = tensors[key][1:] if key in ("in.t", "in.cond") else tensors[key][rows]
        tensors["in.coords"][:, 0] = 0
        del tensors["out_bf16torso"]

    verdict = check_fixture(rewritten(tmp_path, "slat_flow_tex", only_second), "slat_flow_tex", CPU)
    assert verdict.passed, verdict.reason


def swap(name: str) -> Change:
    def change(tensors: dict[str, Any], data: dict[str, Any]) -> None:
        tensors[name] = tensors[name].flip(0)

    return change


def edit(name: str, new: Callable[[Any], Any]) -> Change:
    def change(tensors: dict[str, Any], data: dict[str, Any]) -> None:
        tensors[name] = new(tensors[name])

    return change


def drop(name: str) -> Change:
    def change(tensors: dict[str, Any], data: dict[str, Any]) -> None:
        del tensors[name]

    return change


def setting(name: str, value: Any) -> Change:
    def change(tensors: dict[str, Any], data: dict[str, Any]) -> None:
        data["config"][name] = value

    return change


def nudged(tensor: Any) -> Any:
    tensor = tensor.clone()
    tensor.view(-1)[-1] += 1e-3
    return tensor


WRONG = {
    "output nudged": ("slat_flow_tex", edit("out.feats", nudged)),
    "activation nudged": ("slat_flow_tex", edit("act.block0", nudged)),
    "one activation missing": ("slat_flow_tex", drop("act.block1")),
    "bf16 output far off": ("slat_flow_tex", edit("out_bf16torso", lambda t: t + 0.1)),
    "rows permuted": ("slat_flow_tex", swap("out.feats")),
    "coordinates permuted": ("slat_flow_tex", swap("in.coords")),
    "not a number": ("slat_flow_tex", edit("out.feats", lambda t: t * float("nan"))),
    "weight missing": ("slat_flow_tex", drop("weights.blocks.1.mlp.mlp.2.bias")),
    "weight of another dtype": ("slat_flow_tex", edit("weights.out_layer.weight", lambda t: t.half())),
    "output of another shape": ("slat_flow_tex", edit("out.feats", lambda t: t[:-1])),
    "output missing": ("slat_flow_tex", drop("out.feats")),
    "more heads": ("slat_flow_tex", setting("num_heads", 8)),
    "heads do not divide": ("slat_flow_tex", setting("num_heads", 5)),
    "unknown setting": ("slat_flow_tex", setting("windows", 8)),
    "fewer blocks": ("slat_flow_tex", setting("num_blocks", 1)),
    "children permuted": ("sparse_vae_blocks", swap("out.c2s.coords")),
    "a wrong coordinate": ("sparse_vae_blocks", edit("out.s2c.coords", lambda t: t + (t == t.max()).int())),
    "coordinates of another dtype": ("sparse_vae_blocks", edit("out.c2s.coords", lambda t: t.long())),
    "kernel mirrored": ("submanifold_conv3d", edit("weights.weight", lambda t: t.flip(1))),
    "kernel transposed": ("submanifold_conv3d", edit("probe.weight", lambda t: t.transpose(1, 3).contiguous())),
    "times in float32": ("samplers", edit("ss_default.t_seq", lambda t: t.float().double())),
    "trajectory nudged": ("samplers", edit("cfg.sparse.pred_x_0", nudged)),
    "another image": ("dinov3", edit("in.x", lambda t: t.flip(3))),
    "phases nudged": ("rope", edit("phases_hd128", nudged)),
    "a tensor nobody knows": ("rope", edit("out.q_hd16", lambda t: t)),
}
WRONG["a tensor nobody knows"] = ("rope", lambda tensors, data: tensors.update(extra=torch.zeros(1)))


@pytest.mark.parametrize("what", WRONG)
def test_wrong_fixtures_fail(what: str, tmp_path: Path) -> None:
    name, change = WRONG[what]
    verdict = check_fixture(rewritten(tmp_path, name, change), name, CPU)
    assert not verdict.passed
    assert "\n" not in str(verdict) and "FAIL" in str(verdict)


def test_listing_must_fit_the_file(tmp_path: Path) -> None:
    folder = rewritten(tmp_path, "rope", drop("in.q128"), listed=False)
    assert "in.q128 is missing" in check_fixture(folder, "rope", CPU).reason


def test_unreadable_files_are_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("rope", "submanifold_conv3d", "dinov3"):
        for ending in ("json", "safetensors"):
            shutil.copy(GOLDEN / f"{name}.{ending}", tmp_path)
    whole = (tmp_path / "rope.safetensors").read_bytes()
    (tmp_path / "rope.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "submanifold_conv3d.json").write_text('{"module": ')
    (tmp_path / "dinov3.json").unlink()
    (tmp_path / "novelty.json").write_text('{"tensors": {}}')
    save_file({}, tmp_path / "novelty.safetensors")
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL") == 4
    assert "rope.safetensors cannot be read" in out
    assert "submanifold_conv3d.json cannot be read" in out
    assert "dinov3.json is missing" in out
    assert "no fixture of this name is known" in out


def test_a_folder_without_fixtures_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "holds no fixture" in capsys.readouterr().out
