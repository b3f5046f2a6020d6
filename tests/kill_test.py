"""Kill a batch at random moments, over and over, and see that every job is delivered once and sent once.

    python tests/kill_test.py [--kills 200] [--seed 1]

A service of ours stands for the paid API (`--backend remote` with RUNWARE_BASE_URL). Each round starts a
batch in a process of its own, kills it (SIGKILL) at a random moment of its life, and starts it again until
it has come through; then the next folder of pictures begins. Needs bpy. Prints what was seen.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image, ImageDraw  # noqa: E402

from trellis_addon.client.local_service import LocalService, start_service  # noqa: E402
from trellis_addon.jobs.job import State  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402

PICTURES = 5
QUICK = ["--resolution", "512", "--texture-size", "1024"]


@dataclass
class Outcome:
    """What a run of the test has seen. `problems` are sentences; none is what one hopes for."""

    kills: int = 0
    batches: int = 0
    jobs: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def run(kills: int, seed: int, folder: Path) -> Outcome:
    """Go on until so many processes were killed, and the last batch has come through."""
    chance = random.Random(seed)
    outcome = Outcome()
    service = start_service("draft")
    try:
        lifetime = 3.0  # seconds; learned from the first batch that comes through
        while outcome.kills < kills:
            batch = folder / f"batch{outcome.batches}"
            write_pictures(batch / "pictures", chance)
            while True:
                may_kill = outcome.kills < kills
                moment = chance.uniform(0.0, lifetime * 1.1) if may_kill else None
                started = time.monotonic()
                if run_batch(batch, service, moment):
                    lifetime = max(lifetime, time.monotonic() - started)
                    break
                outcome.kills += 1
                outcome.moments[what_was_going_on(batch)] += 1
            outcome.batches += 1
            check(batch, outcome)
    finally:
        service.stop()
    return outcome


def write_pictures(folder: Path, chance: random.Random) -> None:
    folder.mkdir(parents=True)
    for number in range(PICTURES):
        image = Image.new("RGBA", (96, 96))
        colour = tuple(chance.randrange(256) for _ in range(3))
        ImageDraw.Draw(image).ellipse((10, 10 + number * 5, 86, 86), fill=(*colour, 255))
        image.save(folder / f"picture{number}.png")


def run_batch(batch: Path, service: LocalService, kill_after: float | None) -> bool:
    """Whether the batch came to its end by itself, and well."""
    environment = {
        **os.environ,
        "RUNWARE_BASE_URL": service.url,
        "RUNWARE_API_KEY": service.token,
        "TRELLIS2_HOME": str(batch / "home"),
        "BLENDER_USER_RESOURCES": str(batch / "blender"),
    }
    command = [sys.executable, "-m", "trellis_addon", "batch", str(batch / "pictures"), "--backend", "remote"]
    process = subprocess.Popen(
        [*command, "--output", str(batch / "all.blend"), *QUICK],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=kill_after if kill_after is not None else 300)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        raise AssertionError(f"a batch that was not killed failed:\n{said}")
    return True


def what_was_going_on(batch: Path) -> str:
    """The state of the jobs at a kill, for the table."""
    if not (batch / "home" / "jobs.sqlite3").exists():
        return "starting"
    states = {job.state for job in JobStore(batch / "home").recent()}
    for state in (State.SENDING, State.UNCERTAIN, State.RUNNING, State.WAITING):
        if state in states:
            return str(state)
    return "importing" if states else "starting"


def check(batch: Path, outcome: Outcome) -> None:
    """Every picture stands in the .blend once, and has one job, which is ready."""
    jobs = JobStore(batch / "home").recent(1000)
    outcome.jobs += len(jobs)
    for print_, count in Counter(job.fingerprint for job in jobs).items():
        if count != 1:
            outcome.problems.append(f"{batch.name}: {count} jobs for {print_[:8]}")
    outcome.problems += [f"{batch.name}: {job.name} is {job.state}" for job in jobs if job.state is not State.READY]
    if len(jobs) != PICTURES:
        outcome.problems.append(f"{batch.name}: {len(jobs)} jobs for {PICTURES} pictures")
    placed = Counter(names_in(batch / "all.blend"))
    if placed != Counter(f"picture{number}" for number in range(PICTURES)):
        outcome.problems.append(f"{batch.name}: in the .blend are {dict(placed)}")


def names_in(blend: Path) -> list[str]:
    script = "import bpy, sys; bpy.ops.wm.open_mainfile(filepath=sys.argv[1]); print(*[o.name for o in bpy.data.objects])"
    done = subprocess.run([sys.executable, "-c", script, str(blend)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(options.kills, options.seed, Path(folder))
    print(f"{outcome.kills} kills, {outcome.batches} batches, {outcome.jobs} jobs")
    for moment, count in outcome.moments.most_common():
        print(f"  killed while {moment:<10} {count:>4}")
    print("\n".join(outcome.problems) or "every job was sent once and delivered once")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
