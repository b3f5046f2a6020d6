"""The command line: `python -m trellis_addon ...`, and in Blender `blender --command trellis2 ...`.

generate IMAGE --output FILE.blend|FILE.glb     one picture to one asset
batch FOLDER --output FILE.blend                every picture of a folder to one file; --shared, --collect: on a farm
serve --port N --token TOKEN                    our service, for other programs and machines
tokens add NAME, list, revoke NAME              who may ask it, each with a token of their own
cluster status, doctor, drain                   the machines behind a service of several
local install, weights, doctor, remove          TRELLIS.2 on this machine
change ASSET --box X0 Y0 Z0 X1 Y1 Z1 --output FILE.glb   make a part of an asset anew, of another picture or seed
go-on ROUGH.glb ... --output FILE.glb           the whole asset of a rough shape (generate --rough true)
rework ASSET --output FILE.glb                  texture or finish an asset again from what was kept of it
export ASSET --output FILE.vxz|npz|glb|ply      its voxels, or its dense mesh
texture MESH.glb PICTURE --output OUT.glb       a mesh that is there gets the look of a picture
rebake IN.glb --output OUT.glb                  any GLB remeshed and rebaked into one clean asset
check FILE.glb --contract FILE                  whether an asset keeps the rules of a production
jobs, resume, fetch, price, account, limit      what was begun, and what it costs

Every setting of the task is an option, derived from `settings.SETTABLE` and `settings.OWN_SETTINGS`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.configuration import configuration, overrule
from ..core.errors import Cancelled, FieldError, OutputError, TrellisError
from ..core.messages import reason_of
from ..core.output import try_places
from ..core.stopping import answered, interrupting
from ..core.streams import prepare_streams, printable, silence
from ..core.version import VERSION
from ..task.height import check_height
from ..task.settings import BY_PATH, Settings
from .agents import add_commands as add_agent_commands
from .check import add_commands as add_check_commands
from .cluster import add_commands as add_cluster_commands
from .farm import add_options as add_farm_options
from .farm import batch_of, print_table, write_report
from .jobs import add_commands as add_job_commands
from .local import add_local_commands
from .options import Bar, add_picture_options, add_settings, below_zero, picture_of, settings_of, views_of
from .rebake import add_commands as add_rebake_command
from .stages import add_commands as add_stage_commands
from .texture import add_commands as add_texture_command
from .tokens import add_commands as add_token_commands

if TYPE_CHECKING:
    from ..client.backends import Backend

log = logging.getLogger(__name__)

# Exit codes: 2 is argparse's own for a wrong command line.
OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: str = "python -m trellis_addon",
    key: str = "",
    allow_network: bool = True,
) -> int:
    """Run one command and return its exit code; `key` and `allow_network` come from Blender's preferences."""
    prepare_streams()
    options = _parser(program).parse_args(below_zero(sys.argv[1:] if arguments is None else arguments))
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    for noisy in ("httpx", "httpcore", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with interrupting():
            code = options.run(options, key, allow_network)
            if sys.stdout is not None:
                sys.stdout.flush()  # now, so that what cannot be written is found out here
            return code
    except (KeyboardInterrupt, Cancelled):
        _complain(f"\nStopped. {options.go_on}".rstrip())
        return INTERRUPTED
    except TrellisError as error:
        _complain(f"error: {error}")
        return options.wrong_input if isinstance(error, FieldError) else FAILED
    except BrokenPipeError:
        silence()  # whoever read it has seen enough, as `| head` has
        return FAILED
    except Exception as error:
        log.debug("Where it went wrong", exc_info=error)
        _complain(f"error: {_unforeseen(error)}")
        silence()
        return FAILED


def _complain(sentence: str) -> None:
    """Say it on standard error, unless nobody can be told: the terminal may be what was closed."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(printable(sentence, keep="\n\t"), file=sys.stderr, flush=True)


def _unforeseen(error: Exception) -> TrellisError:
    said = reason_of(error)
    if isinstance(error, OSError):
        if error.filename is not None:
            named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
            return OutputError("The system says of {path}: {reason}.", path=named, reason=said)
        return OutputError("The system says: {reason}.", reason=said)
    kind = type(error).__name__
    return TrellisError("Unexpected problem ({kind}: {reason}); --verbose shows where it was.", kind=kind, reason=said)


def _parser(program: str) -> argparse.ArgumentParser:
    """The parser of all commands; `tools/make_docs.py` writes docs/commands.md from it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="log what happens")
    # what is true of every job that was begun
    common.set_defaults(
        wrong_input=WRONG_INPUT, go_on=f"What was begun is in the list of jobs: `{program} resume` goes on with it."
    )
    parser = argparse.ArgumentParser(prog=program, description="One picture to a textured 3D asset, with TRELLIS.2.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", parents=[common], help="one picture to one asset")
    generate.add_argument("image", help="path, URL, data URI or Base64 of a PNG, JPEG or WebP picture")
    generate.add_argument("--output", type=Path, required=True, metavar="FILE", help="FILE.blend or FILE.glb")
    generate.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="VIEW=PICTURE",
        help="another picture of the same object, whose front the first one is: back=BACK.png, left=..., right=..., or "
        "degrees, counter-clockwise from above (135=OTHER.png); once for each",
    )
    generate.add_argument("--name", default="", help="the asset's name (default: the picture's)")
    generate.add_argument("--render", type=Path, metavar="PNG", help="also render a picture of the asset (needs bpy)")
    add_picture_options(generate)
    generate.set_defaults(run=_generate)

    batch = commands.add_parser("batch", parents=[common], help="every picture of a folder to one .blend")
    batch.add_argument("folder", type=Path, help="where the pictures are")
    batch.add_argument("--output", type=Path, metavar="FILE.blend", help="where all assets come")
    add_farm_options(batch)
    batch.add_argument(
        "--strict", action="store_true", help="exit with 1 when any picture failed, not only when all did"
    )
    batch.add_argument("--whole", action="store_true", help="cut nothing out of any picture")
    batch.add_argument(
        "--contract", metavar="FILE", help="hold every asset against these rules: a JSON file, or a preset as for check"
    )
    batch.add_argument("--mend", action="store_true", help="with --contract: mend what can be mended")
    batch.set_defaults(run=_batch, go_on="Run the same command again to go on.")

    for command in (generate, batch):
        command.add_argument(
            "--backend", default="draft", help="draft (default), local, remote, or the address of a service"
        )
        command.add_argument("--model", help=BY_PATH["model"].description + f" ({BY_PATH['model'].allowed})")
        command.add_argument(
            "--height", type=float, default=1.0, metavar="METRES", help="height in the scene (default 1)"
        )
        add_settings(command)

    add_job_commands(commands, common)
    add_stage_commands(commands, common)
    add_rebake_command(commands, common)
    add_texture_command(commands, common)
    add_check_commands(commands, common)
    add_agent_commands(commands, common)
    add_cluster_commands(commands, common)
    add_local_commands(commands, common)
    add_token_commands(commands, common)

    serve = commands.add_parser("serve", parents=[common], help="run our service")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=_port, default=0, help="0 (default) takes a free one and prints it")
    serve.add_argument(
        "--token", help="what callers must send (default: the variable TRELLIS2_SERVICE_TOKEN, or a random one)"
    )
    serve.add_argument(
        "--token-stdin", action="store_true", help="read the token from standard input, end when it closes"
    )
    serve.add_argument("--engine", choices=("auto", "draft", "trellis2"), default="auto")
    serve.add_argument(
        "--weights",
        type=Path,
        metavar="FOLDER",
        help="a local copy of microsoft/TRELLIS.2-4B (default: the variable TRELLIS2_WEIGHTS, or weights/ in the "
        "folder of the jobs)",
    )
    serve.add_argument("--device", help="what TRELLIS.2 runs on: auto (default), cuda, cuda:1, mps or cpu")
    serve.add_argument(
        "--fast", action="store_true", help="sample with fewer operations; results differ from the full ones"
    )
    serve.add_argument(
        "--memory", type=_amount, metavar="GIB", help="how much of the device it may take (default: what is free)"
    )
    serve.add_argument(
        "--workers",
        type=_number_of_workers,
        metavar="N",
        help="results worked on at the same time (default: auto, one for each device)",
    )
    serve.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="have the machines of a Ray cluster make the results: auto (the one on this machine, or a new one), or "
        "HOST:PORT of its head",
    )
    serve.add_argument(
        "--idle",
        type=_amount,
        metavar="MINUTES",
        help="without work for so long, leave the device to others (default 5; 0: never)",
    )
    serve.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="keep tasks and files here, beyond a restart (default: nothing is)",
    )
    serve.add_argument("--restart", action="store_true", help="start it again when it dies (its tasks: see --folder)")
    serve.add_argument("--log", type=Path, metavar="FILE", help="write the log there (default: standard error)")
    serve.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="lines (default), or a JSON object a line"
    )
    serve.add_argument(
        "--quota",
        type=_gigabytes,
        metavar="GB",
        help="disk that results and uploads may have; beyond it the oldest results go (default: until their ttl)",
    )
    serve.add_argument(
        "--page",
        action=argparse.BooleanOptionalAction,
        help="have a page for browsers at / (default: where it is started by hand)",
    )
    serve.add_argument("--shared", help=argparse.SUPPRESS)  # how the add-on starts it; see `service.serve`
    serve.add_argument(
        "--allow-private-addresses",
        action=argparse.BooleanOptionalAction,
        help="let web addresses in tasks lead to this machine and its private network (default: only where nobody "
        "else can ask)",
    )
    serve.set_defaults(run=_serve, go_on="")
    return parser


def _backend(options: argparse.Namespace, key: str, allow_network: bool) -> Backend:
    from ..client.backends import Backend

    return Backend(options.backend, key, allow_network)


def _generate(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..api import generate
    from ..images import readable
    from .telling import tell

    settings, backend = settings_of(options), _backend(options, key, allow_network)
    wants_blend = _check_output(options.output, (".blend", ".glb")) == ".blend"
    check_height(options.height)
    if options.render:
        try_places([options.render], "render")
        if os.path.realpath(options.render) == os.path.realpath(options.output):
            sentence = "The picture and the asset cannot be one file; give --render another name."
            raise FieldError("render", str(options.render), message=sentence)
    if wants_blend or options.render:
        from ..scene import require_blender

        require_blender()
    image, subject = picture_of(options, allow_network)
    bar = Bar()
    asset = generate(
        image,
        views=views_of(options.view),
        backend=backend.name,
        model=options.model,
        name=options.name,
        subject=subject,
        output=None if wants_blend else options.output,
        key=key,
        settings=settings,
        progress=bar.progress(options.name or Path(options.image[-80:]).stem),
        allow_network=allow_network,
    )
    bar.end()
    if options.render:
        print(f"Rendering {readable(str(options.render))} ...", flush=True)
    if wants_blend or options.render:
        try:
            with _without_chatter(options.verbose):
                _build_scene(asset, options)
        except TrellisError as error:
            raise OutputError(
                '{reason} The asset itself is made: it is "{path}".', reason=error, path=asset.path
            ) from error
    tell(asset, options.output)
    return OK


def _build_scene(asset: Any, options: argparse.Namespace) -> None:
    from .. import scene
    from ..scene import files

    files.new_file()
    objects = [scene.import_asset(variation, height=options.height) for variation in asset.variations or (asset,)]
    scene.lay_out_grid(objects)
    for obj in objects:
        scene.mark_asset(obj)
    if options.output.suffix.lower() == ".blend":
        files.save_file(options.output)
    if options.render:
        scene.render_object(objects[0], options.render)


def _batch(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..scene import require_blender

    settings, backend = settings_of(options), replace(_backend(options, key, allow_network), can_wait=True)
    batch = batch_of(options)
    if batch.output is not None:
        _check_output(batch.output, (".blend",))
        require_blender()
    check_height(options.height)
    if options.report is not None:
        try_places([options.report / "report.html"], "report")
    contract = None
    if options.contract is not None:
        from ..contract.contract import find_contract

        contract = find_contract(options.contract)  # before anything is made, or paid
    elif options.mend:
        raise FieldError("mend", "", message="--mend mends by a contract; give one with --contract.")
    if backend.is_remote and not batch.only_collects:
        _print_price(options.folder, settings)
    bar = Bar()
    try:
        with _stop_signals() as is_stopped, _without_chatter(options.verbose):
            rows = batch.run(options, backend, settings, contract, bar.report, is_stopped)
    finally:
        bar.end()
    if is_stopped():
        raise KeyboardInterrupt
    write_report(batch, options, backend, settings, rows)
    print_table(rows, batch, options)
    failed = sum(not row.is_good for row in rows)
    return FAILED if (rows and failed == len(rows)) or (failed and options.strict) else OK


def _serve(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..service import serve

    # Whoever makes an engine finds these where a user may set them as well.
    wishes = {"weights": options.weights, "device": options.device, "memory": options.memory, "idle": options.idle}
    overrule(**{field: str(value) for field, value in wishes.items() if value is not None})
    if options.fast:
        overrule(fast="1")
    # from the variable it is in no list of processes, and in no shell's history
    token = options.token or (None if options.token_stdin else configuration().service_token or None)
    return serve(
        host=options.host,
        port=options.port,
        token=token,
        engine=options.engine,
        workers=options.workers,
        folder=options.folder,
        allow_private_addresses=options.allow_private_addresses,
        parent_pipe=options.token_stdin,
        shared=options.shared,
        log=options.log,
        log_format=options.log_format,
        quota=options.quota,
        restart=options.restart,
        page=options.page,
        cluster=options.cluster,
    )


def _number_of_workers(text: str) -> int | None:
    try:
        return None if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" cannot be; give auto, or a whole number such as 2') from None


def _gigabytes(text: str) -> int:
    """Bytes."""
    try:
        return int(float(text) * 2**30)
    except (ValueError, OverflowError):  # also NaN and infinity
        raise argparse.ArgumentTypeError(f'"{text}" cannot be; give a number of GB such as 20') from None


def _amount(text: str) -> float:
    """A number of at least 0, of GiB or minutes."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'"{text}" is no amount; give a number of at least 0')
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'"{text}" is no port; give 0 to 65535')
    return int(text)


@contextmanager
def _without_chatter(verbose: bool) -> Iterator[None]:
    """Without what Blender's own code prints to standard output about every file it saves."""
    if verbose:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether somebody wants this to stop: Ctrl-C, or a scheduler's polite end; what is there is then saved.

    A flag, because an exception out of the blue may end up anywhere, even where it is swallowed. Who
    presses Ctrl-C a second time gets the exception.
    """
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        if stopped.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.set()

    with answered(stop):
        yield stopped.is_set


def _check_output(path: Path, endings: tuple[str, ...]) -> str:
    ending = path.suffix.lower()
    if ending not in endings:
        raise FieldError("output", str(path), f"give a file name that ends in {' or '.join(endings)}")
    try_places([path])
    return ending


def _print_price(folder: Path, settings: Settings) -> None:
    from ..images import find_path, find_pictures
    from ..jobs.money import expected_price

    folder = find_path(str(folder))
    pictures = find_pictures(folder) if folder.is_dir() else []
    count = len(pictures) * settings.value("number_results")
    print(f"Up to {count} paid results; by the published examples, {expected_price(count)} in all.", flush=True)
