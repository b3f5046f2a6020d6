"""Kill the processes that work on one folder, over and over, and see that every picture is made once, and paid once.

    python tests/by_hand/farm_kill_test.py [--workers 8] [--pictures 400] [--kills 50]
        [--backend remote|draft] [--one-home]

Each process has a data folder of its own, as on machines of their own: what a dead one has sent, another one learns
from the shared folder alone; with `--one-home` they share one list of jobs, as on one machine. With `remote` a fault
server stands for the paid API, slow to accept and to send; with `draft` everything is made for real. In the end
`--collect` lays everything out, killed now and then as well. Needs bpy.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from fault_server import FILE, FOREVER, SUBMIT, FaultServer  # noqa: E402
from faults import dripping, late  # noqa: E402
from kill_test import QUICK, names_in  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

PATIENCE = 3600.0  # seconds without any end


@dataclass
class Outcome:
    """What was seen. `problems` are sentences; none is what one hopes for."""

    kills: int = 0
    collecting_kills: int = 0
    started: int = 0
    seconds: float = 0.0
    takeovers: int = 0
    makers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass
class Farm:
    """The folder, and the processes that work on it."""

    root: Path
    environment: dict[str, str]
    backend: str
    one_home: bool = False
    said: list[Path] = field(default_factory=list)

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    def start(self, *arguments: str, machine: str) -> subprocess.Popen[bytes]:
        path = self.root / f"said-{len(self.said)}.txt"
        self.said.append(path)
        command = [sys.executable, "-m", "trellis_addon", "batch", str(self.pictures), *arguments]
        environment = {**self.environment, "TRELLIS2_HOME": str(self.root / ("home" if self.one_home else machine))}
        with path.open("wb") as said:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)

    def work(self, machine: str) -> subprocess.Popen[bytes]:
        return self.start("--shared", "--backend", self.backend, *QUICK, machine=machine)

    def result_files(self) -> list[Path]:
        return sorted(self.pictures.glob("trellis2-batch/results/*/result.json"))


def run(
    workers: int, pictures: int, kills: int, seed: int, root: Path, backend: str = "remote", one_home: bool = False
) -> Outcome:
    """Start the workers, kill them at random moments, start others in their place, until all is made."""
    chance = random.Random(seed)
    outcome = Outcome()
    write_pictures(root / "pictures", pictures)
    slow = [late(0.05, SUBMIT, times=FOREVER), dripping(FILE, 0.1, times=FOREVER)]
    with FaultServer(slow, workers=4) if backend == "remote" else nullcontext() as server:
        environment = {**os.environ, "BLENDER_USER_RESOURCES": str(root / "blender")}
        if server is not None:
            server.engine.seconds = 0.2
            environment |= {"RUNWARE_BASE_URL": server.url, "RUNWARE_API_KEY": server.token}
        farm = Farm(root, environment, backend, one_home)
        began = time.monotonic()
        work(farm, workers, pictures, kills, chance, outcome)
        outcome.seconds = time.monotonic() - began
        collect(farm, chance, 2 if kills else 0, outcome)
        check(farm, server, pictures, outcome)
    return outcome


def write_pictures(folder: Path, count: int) -> None:
    """Discs, no two alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGBA", (96, 96))
        colour = (number * 37 % 256, number * 91 % 256, number % 256, 255)
        ImageDraw.Draw(image).ellipse((10, 10 + number % 40, 86, 86), fill=colour)
        image.save(folder / f"picture{number:03}.png")


def work(farm: Farm, workers: int, pictures: int, kills: int, chance: random.Random, outcome: Outcome) -> None:
    at_work = {number: farm.work(f"machine{number}") for number in range(workers)}
    outcome.started = workers
    # spread over the whole of the work: a kill is due whenever so much of it is done, the last while there is some left
    due = sorted(chance.uniform(0.0, 0.95) * (pictures - workers) for _ in range(kills))
    give_up = time.monotonic() + PATIENCE
    while at_work and time.monotonic() < give_up:
        done = len(farm.result_files())
        for number, process in list(at_work.items()):
            if process.poll() is not None:
                del at_work[number]
                if process.returncode:
                    outcome.problems.append(f"worker {number} ended with {process.returncode}")
        while due and due[0] <= done and at_work:
            due.pop(0)
            number = chance.choice(list(at_work))
            wait_for_work(farm, at_work[number], chance)
            at_work[number].kill()
            at_work[number].wait()
            outcome.kills += 1
            at_work[number] = farm.work(f"machine{number}")
            outcome.started += 1
        time.sleep(0.05)
    for process in at_work.values():
        process.kill()
        outcome.problems.append("a worker did not come to its end")


def wait_for_work(farm: Farm, process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Mostly until the process has something in hand, and a moment longer; now and then it is hit as it starts."""
    give_up = time.monotonic() + (20.0 if chance.random() < 0.8 else chance.uniform(0.0, 2.0))
    mark = f"-{process.pid}-".encode()
    while process.poll() is None and time.monotonic() < give_up:
        for path in (farm.pictures / "trellis2-batch" / "leases").glob("*"):
            content = path.read_bytes()
            if mark in content and b'"held"' in content:
                time.sleep(chance.uniform(0.0, 0.5))
                return
        time.sleep(0.02)


def collect(farm: Farm, chance: random.Random, kills: int, outcome: Outcome) -> None:
    output = farm.root / "all.blend"
    for _ in range(kills):
        process = farm.start("--collect", str(output), machine="collector")
        try:
            process.wait(chance.uniform(1.0, 8.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            outcome.collecting_kills += 1
    process = farm.start("--collect", str(output), machine="collector")
    if process.wait(PATIENCE):
        outcome.problems.append(f"collecting failed: {farm.said[-1].read_text(encoding='utf-8')[-500:]}")


def check(farm: Farm, server: FaultServer | None, pictures: int, outcome: Outcome) -> None:
    """Every picture has one result and stands in the .blend once; where it costs, it was sent and made once."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in farm.result_files()]
    made = Counter(result["picture"] for result in results)
    if len(results) != pictures or set(made.values()) != {1}:
        outcome.problems.append(f"{len(results)} results for {pictures} pictures")
    uuids = {result["uuid"] for result in results}
    for result in results:
        outcome.makers[result["worker"]] += 1
    leases = [path.name.rpartition(".") for path in farm.pictures.glob("trellis2-batch/leases/*")]
    outcome.takeovers = sum(int(number) > 1 for name, _, number in leases if not name.startswith("file-"))
    if server is not None:
        sent = {task["taskUUID"] for task in server.asked(SUBMIT)}
        if sent != uuids or len(server.engine.calls) != pictures:
            told = f"{len(sent)} tasks were sent and {len(server.engine.calls)} made for {pictures} pictures"
            outcome.problems.append(told)
    placed = Counter(names_in(farm.root / "all.blend"))
    if placed != Counter(f"picture{number:03}" for number in range(pictures)):
        outcome.problems.append(f"in the .blend are {sum(placed.values())} objects, {len(placed)} of them different")
    left = [path.name for path in (farm.pictures / "trellis2-batch").glob(".*.part")]
    if len(left) > outcome.kills + outcome.collecting_kills:
        outcome.problems.append(f"{len(left)} half folders were left")


def told(outcome: Outcome, arguments: Any) -> str:
    lines = [
        f"{arguments.workers} processes, {arguments.pictures} pictures, {outcome.kills} kills",
        f"{outcome.started} were started",
        f"{outcome.takeovers} take-overs, {outcome.collecting_kills} kills while collecting, {outcome.seconds:.0f} s",
        f"made by {len(outcome.makers)} processes, {max(outcome.makers.values(), default=0)} at most by one",
        *(outcome.problems or ["every picture was made once and stands in the .blend once"]),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--backend", choices=("remote", "draft"), default="remote")
    parser.add_argument("--one-home", action="store_true", help="one list of jobs for all, as on one machine")
    parser.add_argument("--seed", type=int, default=1, help="of the chance that draws the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = (options.workers, options.pictures, options.kills, options.seed)
        outcome = run(*numbers, Path(folder), options.backend, options.one_home)
    print(told(outcome, options))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
