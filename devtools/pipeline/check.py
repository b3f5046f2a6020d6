"""Compare this implementation with golden fixtures.

    python -m devtools.pipeline.check FOLDER [--device all|cpu|cuda|mps]

Runs every fixture NAME.json + NAME.safetensors of the folder, prints a line for each (name, largest difference, pass or
FAIL with the reason), and ends with 1 when one fails, is not known, or none is there. "all", the default, is the CPU
and then the accelerator where there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trellis_addon.core.errors import EngineError
from trellis_addon.core.streams import prepare_streams
from trellis_addon.pipeline.device.store import choose_device
from trellis_addon.pipeline.numerics import exactly

from .golden import autoencoders, geometry, runs, transformers
from .golden.fixtures import Fixture, Mismatch, fixture_names

CHECKS: dict[str, Callable[[Fixture], None]] = {
    "rope": transformers.rope,
    "timestep_embedder": transformers.timestep_embedder,
    "attention": transformers.attention,
    "adaln_block": transformers.adaln_block,
    "sparse_adaln_block": transformers.sparse_adaln_block,
    "ss_flow": transformers.ss_flow,
    "slat_flow_shape": transformers.slat_flow,
    "slat_flow_tex": transformers.slat_flow,
    "dinov3": transformers.dinov3,
    "ss_decoder": autoencoders.ss_decoder,
    "submanifold_conv3d": autoencoders.submanifold_conv3d,
    "sparse_vae_blocks": autoencoders.sparse_vae_blocks,
    "shape_decoder": autoencoders.shape_decoder,
    "tex_decoder": autoencoders.tex_decoder,
    "shape_encoder_texturing": autoencoders.shape_encoder_texturing,
    "preprocess_image": runs.preprocess_image,
    "samplers": runs.samplers,
    "pipeline_e2e": runs.pipeline_e2e,
    "flexible_dual_grid_mesh": geometry.flexible_dual_grid_mesh,
    "mesh_to_flexible_dual_grid": geometry.mesh_to_flexible_dual_grid,
    "grid_sample_3d": geometry.grid_sample_3d,
}


@dataclass(frozen=True)
class Verdict:
    """How one fixture went: `reason` is empty where it passed, `difference` the largest one found, if any was."""

    name: str
    difference: float | None
    torso_difference: float | None
    reason: str
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        number = "-" if self.difference is None else f"{self.difference:.2e}"
        torso = "" if self.torso_difference is None else f" (16 bit: {self.torso_difference:.2e})"
        remarks = "".join(f" ({remark})" for remark in self.remarks)
        return f"{self.name:28s} {number:>9s}{torso}  " + (f"pass{remarks}" if self.passed else f"FAIL: {self.reason}")


def check_fixture(folder: Path, name: str, device: torch.device) -> Verdict:
    """Run one fixture. Whatever goes wrong is in the verdict."""
    fixture = None
    reason = ""
    try:
        fixture = Fixture(folder, name, device)
        if name not in CHECKS:
            raise Mismatch("no fixture of this name is known")
        with exactly():
            CHECKS[name](fixture)
        fixture.finish()
    except Mismatch as mismatch:
        reason = str(mismatch)
    except Exception as error:  # a fixture may be wrong in any way: that is what is found out here
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    found = fixture.differences.values() if fixture else ()
    torso = fixture.torso_differences.values() if fixture else ()
    remarks = tuple(fixture.remarks) if fixture else ()
    return Verdict(name, max(found, default=None), max(torso, default=None), reason, remarks)


def check_folder(folder: Path, device: torch.device, report: Callable[[str], None]) -> bool:
    """Run all fixtures of a folder, a line for each to `report`; whether there are any and all pass."""
    try:
        names = fixture_names(folder)
    except OSError as error:
        report(f"{folder} cannot be read: {error}")
        return False
    if not names:
        report(f"{folder} holds no fixture (NAME.json + NAME.safetensors).")
        return False
    verdicts = []
    for name in names:
        start = time.perf_counter()
        verdicts.append(check_fixture(folder, name, device))
        report(f"{verdicts[-1]}  [{device.type}, {time.perf_counter() - start:.1f} s]")
    failed = sum(not verdict.passed for verdict in verdicts)
    report(f"{len(verdicts) - failed} of {len(verdicts)} pass on {device.type}.")
    return failed == 0


def devices(choice: str) -> list[torch.device]:
    """The devices to run on; "all" is the CPU and what accelerator there is."""
    if choice != "all":
        return [choose_device(choice)]
    return list(dict.fromkeys((choose_device("cpu"), choose_device("auto"))))


def main(argv: Sequence[str] | None = None) -> int:
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m devtools.pipeline.check", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="holds NAME.json and NAME.safetensors for each fixture")
    parser.add_argument("--device", default="all", choices=("cpu", "cuda", "mps", "all"), help="where to compute")
    arguments = parser.parse_args(argv)
    try:
        results = [check_folder(arguments.folder, device, print) for device in devices(arguments.device)]
    except EngineError as error:  # the device is not there
        print(error)
        return 1
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
