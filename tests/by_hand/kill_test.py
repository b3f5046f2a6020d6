"""Kill a batch at random moments, over and over, and see that every job is delivered once and sent once.

    python tests/by_hand/kill_test.py [--kills 200] [--seed 1]

A fault server stands for the paid API (`--backend remote` with RUNWARE_BASE_URL): slow to accept, to make and
to send its files, so that every step of a job lasts long enough to be hit. Each round starts a batch in a
process of its own, waits until it is at a step drawn by chance, kills it (SIGKILL) a random moment later, and
starts it again until it has come through; then the next folder of pictures begins. Needs bpy. Prints what was seen.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from fault_server import FILE, FOREVER, SUBMIT, Fault, FaultServer  # noqa: E402
from faults import delayed, dripping, late  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from trellis_addon.jobs.job import State  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402

PICTURES = 5
QUICK = ["--resolution", "512", "--texture-size", "1024"]
STEPS = ("starting", "sending", "running", "downloading", "importing")


def slowness() -> list[Fault]:
    """Some submissions are accepted late, some are answered late, and files take their time."""
    return [delayed(0.1, SUBMIT, times=2), late(0.1, SUBMIT, times=FOREVER), dripping(FILE, 0.15, times=FOREVER)]


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
    while outcome.kills < kills:
        batch = folder / f"batch{outcome.batches}"
        write_pictures(batch / "pictures", chance)
        with FaultServer(slowness(), workers=2) as server:
            server.engine.seconds = 0.4
            while not run_batch(batch, server, chance if outcome.kills < kills else None, outcome.moments):
                outcome.kills += 1
            outcome.batches += 1
            check(batch, server, outcome)
    return outcome


def write_pictures(folder: Path, chance: random.Random) -> None:
    folder.mkdir(parents=True)
    for number in range(PICTURES):
        image = Image.new("RGBA", (96, 96))
        colour = tuple(chance.randrange(256) for _ in range(3))
        ImageDraw.Draw(image).ellipse((10, 10 + number * 5, 86, 86), fill=(*colour, 255))
        image.save(folder / f"picture{number}.png")


def run_batch(batch: Path, server: FaultServer, chance: random.Random | None, moments: Counter[str]) -> bool:
    """Whether the batch came to its end by itself, and well. With `chance` it is to be killed at some step."""
    environment = {
        **os.environ,
        "RUNWARE_BASE_URL": server.url,
        "RUNWARE_API_KEY": server.token,
        "TRELLIS2_HOME": str(batch / "home"),
        "BLENDER_USER_RESOURCES": str(batch / "blender"),
    }
    command = [sys.executable, "-m", "trellis_addon", "batch", str(batch / "pictures"), "--backend", "remote"]
    with (batch / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [*command, "--output", str(batch / "all.blend"), *QUICK],
            cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            if chance is not None and wait_for(process, batch, chance):
                process.kill()
                process.wait()
                moments[step_of(batch)] += 1
                return False
            process.wait(300)
        finally:
            process.kill()
        if process.returncode:
            said.seek(0)
            raise AssertionError(f"a batch that was not killed failed:\n{said.read()}")
    return True


def wait_for(process: subprocess.Popen[bytes], batch: Path, chance: random.Random) -> bool:
    """Wait until the batch is at a step drawn by chance, and a moment longer; False when it ends before that."""
    wanted = chance.choice(STEPS)
    longest = {"starting": 0.7, "importing": 1.2}.get(wanted, 0.15)
    moment = chance.uniform(0.0, longest)
    while process.poll() is None:
        if wanted == "starting" or step_of(batch) == wanted:
            time.sleep(moment)
            return process.poll() is None
        time.sleep(0.003)
    return False


def step_of(batch: Path) -> str:
    """The step that is going on, by what lies in the batch's folder."""
    states = states_in(batch / "home")
    if State.SENDING in states or State.UNCERTAIN in states:
        return "sending"
    if State.RUNNING in states:
        return "downloading" if any((batch / "home").glob("jobs/*/*.part")) else "running"
    return "importing" if states == {State.READY} else "starting"


def states_in(home: Path) -> set[str]:
    if not (home / "jobs.sqlite3").exists():
        return set()
    try:
        connection = sqlite3.connect(f"{(home / 'jobs.sqlite3').as_uri()}?mode=ro", uri=True)
        try:
            return {state for (state,) in connection.execute("SELECT state FROM jobs")}
        finally:
            connection.close()
    except sqlite3.OperationalError:  # it is being made, or written, this very moment
        return set()


def check(batch: Path, server: FaultServer, outcome: Outcome) -> None:
    """Every picture stands in the .blend once, has one job, which is ready, and was made (and paid) once."""
    jobs = JobStore(batch / "home").recent(1000)
    outcome.jobs += len(jobs)
    for print_, count in Counter(job.fingerprint for job in jobs).items():
        if count != 1:
            outcome.problems.append(f"{batch.name}: {count} jobs for {print_[:8]}")
    outcome.problems += [f"{batch.name}: {job.name} is {job.state}" for job in jobs if job.state is not State.READY]
    if len(jobs) != PICTURES:
        outcome.problems.append(f"{batch.name}: {len(jobs)} jobs for {PICTURES} pictures")
    sent = {task["taskUUID"] for task in server.asked(SUBMIT)}
    if sent != {job.uuid for job in jobs} or len(server.engine.calls) != PICTURES:
        made = len(server.engine.calls)
        outcome.problems.append(f"{batch.name}: {len(sent)} tasks were sent and {made} made for {PICTURES} pictures")
    placed = Counter(names_in(batch / "all.blend"))
    if placed != Counter(f"picture{number}" for number in range(PICTURES)):
        outcome.problems.append(f"{batch.name}: in the .blend are {dict(placed)}")


def names_in(blend: Path) -> list[str]:
    script = "import bpy, sys; bpy.ops.wm.open_mainfile(filepath=sys.argv[1]); print(*bpy.data.objects.keys())"
    done = subprocess.run([sys.executable, "-c", script, str(blend)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the chance that draws the moments")
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
