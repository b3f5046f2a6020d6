"""Tokens for people: `tokens add NAME`, `tokens list`, `tokens revoke NAME`, each with the service's folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..core.errors import InputError, OutputError
from ..core.messages import reason_of
from ..service.people.caller import INTERACTIVE, PERSON, PRIORITIES, ROLES, Caller


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    tokens = commands.add_parser("tokens", help="who may ask a service: each with a token of their own")
    verbs = tokens.add_subparsers(required=True, metavar="VERB")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--folder", type=Path, required=True, metavar="FOLDER", help="the service's: as in `serve --folder`"
    )

    add = verbs.add_parser("add", parents=[common, place], help="draw a token, and print it this once")
    add.add_argument("name", metavar="NAME", help="whose it is")
    add.add_argument(
        "--share", type=float, default=1.0, metavar="X", help="turns for another's one while both wait (default 1)"
    )
    add.add_argument(
        "--priority",
        choices=PRIORITIES,
        default=INTERACTIVE,
        help="batch waits until nobody interactive does (default: %(default)s)",
    )
    add.add_argument("--daily-limit", type=int, metavar="N", help="results a day (default: no limit)")
    add.add_argument("--end", metavar="YYYY-MM-DD", help="the last day on which it counts (default: until revoked)")
    add.add_argument(
        "--role",
        choices=ROLES,
        default=PERSON,
        help="an administrator sees and cancels everybody's tasks (default: %(default)s)",
    )
    add.set_defaults(run=_add)
    listed = verbs.add_parser("list", parents=[common, place], help="who has one")
    listed.set_defaults(run=_list)
    revoke = verbs.add_parser("revoke", parents=[common, place], help="have one count no more, from now on")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(run=_revoke)


def _add(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..service.content.folder import prepare
    from ..service.people.tokens import add

    caller = Caller(
        name=options.name,
        role=options.role,
        share=options.share,
        priority=options.priority,
        daily_limit=options.daily_limit,
        end=options.end,
    )
    try:
        token = add(prepare(options.folder), caller)
    except OSError as error:
        raise OutputError(
            "The token cannot be written into {folder}: {reason}.", folder=options.folder, reason=reason_of(error)
        ) from error
    print(token)
    print(f"This is the token of {options.name}. It is shown this once; the folder keeps its hash.", file=sys.stderr)
    return 0


def _list(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..service.people.tokens import read

    if not options.folder.is_dir():
        raise InputError("There is no folder {folder}; name that of the service.", folder=options.folder)
    found = read(options.folder)
    if not found:
        print(f"No token has a name in {options.folder}.")
        return 0
    width = max(len("name"), *(len(caller.name) for caller in found))
    print(f"{'name':<{width}}  {'role':<13}  {'priority':<11}  {'share':>5}  {'a day':>6}  last day")
    for caller in found:
        limit = "" if caller.daily_limit is None else str(caller.daily_limit)
        row = f"{caller.name:<{width}}  {caller.role:<13}  {caller.priority:<11}  {caller.share:>5g}  {limit:>6}"
        print(f"{row}  {caller.end or ''}".rstrip())
    return 0


def _revoke(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..service.people.tokens import revoke

    revoke(options.folder, options.name)
    print(f"The token of {options.name} counts no more.")
    return 0
