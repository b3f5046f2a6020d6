"""Rules of the sources that hold on systems where they are not tried: one door to programs, files and waits.

A rule is found by reading the syntax. What it finds is a place that works here and fails somewhere else.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Callable

import pytest
from conftest import ROOT

pytestmark = pytest.mark.checkout

SHIPPED = ("trellis_addon", "addon", "operators", "ui", "devtools")
OURS = (*SHIPPED, "tools", "benchmarks", "examples")
Rule = Callable[[ast.Call], bool]


@functools.cache
def calls(folder: str) -> list[tuple[str, ast.Call]]:
    return [
        (path.relative_to(ROOT).as_posix(), node)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def places(rule: Rule, folders: tuple[str, ...] = SHIPPED, but: str = "") -> list[str]:
    found = [each for folder in folders for each in calls(folder)]
    return [f"{name}:{node.lineno}" for name, node in found if name != but and rule(node)]


def called(node: ast.Call) -> str:
    """What is called, as it stands there ("os.replace"); of what an expression gives, the last name (".replace")."""
    names: list[str] = []
    function: ast.expr = node.func
    while isinstance(function, ast.Attribute):
        names.insert(0, function.attr)
        function = function.value
    return ".".join([function.id, *names] if isinstance(function, ast.Name) else ["", *names[-1:]])


def method(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def option(node: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


# --- the rules ---


def starts_a_program(node: ast.Call) -> bool:
    name = called(node)
    return name.startswith(("subprocess.", "os.spawn", "os.exec", "os.posix_spawn")) or name in (
        *("os.system", "os.popen", "os.startfile", "Popen"),
    )


def looks_for_a_program(node: ast.Call) -> bool:
    """Windows' own way leads through the current folder, and so does Python's."""
    return called(node) in ("shutil.which", "which")


def moves_or_deletes(node: ast.Call) -> bool:
    """A virus scanner may hold the file, and a second try is in one place. `Path.replace` has one argument."""
    if called(node) in (
        "os.replace",
        "os.rename",
        "os.renames",
        "os.unlink",
        "os.remove",
        "shutil.move",
        "shutil.rmtree",
    ):
        return True
    arguments = len(node.args) + len(node.keywords)
    return (method(node) in ("replace", "rename") and arguments == len(node.args) == 1) or (
        method(node) == "unlink" and not node.args
    )


def waits_without_an_end(node: ast.Call) -> bool:
    """On Windows Ctrl-C does not get through to what waits so."""
    waits = ("wait", "join", "get", "acquire", "result", "communicate")
    return method(node) in waits and not node.args and not node.keywords and not called(node).startswith("bpy.ops.")


def runs_code_of_its_arguments(node: ast.Call) -> bool:
    """Virus scanners stop a Python that is started so, unseen, by another program."""
    lists = [value for value in ast.walk(node) if isinstance(value, (ast.List, ast.Tuple))]
    return any(isinstance(each, ast.Constant) and each.value == "-c" for found in lists for each in found.elts)


def leaves_its_encoding_open(node: ast.Call) -> bool:
    """Windows takes the machine's code page, which differs from one to the next."""
    given = {keyword.arg for keyword in node.keywords}
    if "encoding" in given or None in given:
        return False
    name, whole = method(node) or called(node), called(node)
    if name == "read_text":
        return not node.args
    if name == "write_text":
        return len(node.args) < 2
    if whole.startswith("subprocess."):
        return is_true(option(node, "text")) or is_true(option(node, "universal_newlines"))
    if name not in ("open", "fdopen") or whole in ("os.open", "window.open"):
        return False
    place = 1 if whole in ("open", "io.open", "os.fdopen") else 0
    mode = option(node, "mode") or (node.args[place] if len(node.args) > place else ast.Constant("r"))
    text = mode.value if isinstance(mode, ast.Constant) else ""
    return isinstance(text, str) and "b" not in text and 0 < len(text) < 4 and set(text) <= set("rwxat+")


@pytest.mark.parametrize(
    ("rule", "door"),
    [
        (starts_a_program, "trellis_addon/core/processes.py"),
        (looks_for_a_program, "trellis_addon/core/processes.py"),
        (moves_or_deletes, "trellis_addon/core/files.py"),
    ],
)
def test_there_is_one_door(rule: Rule, door: str) -> None:
    assert places(rule, but=door) == [], f"use {door}"


def test_no_wait_is_without_an_end() -> None:
    assert places(waits_without_an_end) == [], "wait in steps, as core/processes.py does"


def test_no_code_is_in_the_arguments_of_a_program() -> None:
    assert places(runs_code_of_its_arguments) == [], "make it a file, as runtime/entry.py is"


def test_every_text_has_its_encoding() -> None:
    assert places(leaves_its_encoding_open, OURS) == [], 'say encoding="utf-8"'


@pytest.mark.parametrize(
    ("rule", "caught", "free"),
    [
        (
            starts_a_program,
            ("subprocess.run(command)", "subprocess.Popen([tool])", "os.system('dir')", "Popen(x)"),
            ("processes.start(command)", "uvicorn.run(app)"),
        ),
        (looks_for_a_program, ("shutil.which('uv')", "which('uv', path=folder)"), ("find_program('uv')",)),
        (
            moves_or_deletes,
            ("os.replace(a, b)", "part.replace(target)", "a.rename(b)", "path.unlink()", "shutil.rmtree(a)")
            + ("(folder / 'x').unlink(missing_ok=True)", "Path(a).replace(b)", "os.remove(a)"),
            ("text.replace('a', 'b')", "replace(job, state=1)", "dataclasses.replace(job, state=1)", "move(a, b)")
            + ("objects.unlink(obj)", "now.replace(second=0)"),
        ),
        (
            waits_without_an_end,
            ("process.wait()", "thread.join()", "queue.get()", "lock.acquire()", "self.event.wait()", "f().result()"),
            ("process.wait(0.2)", "', '.join(names)", "queue.get(timeout=1)", "bpy.ops.object.join()", "wait(process)"),
        ),
        (
            runs_code_of_its_arguments,
            ("start([python, '-I', '-c', CODE])", "ask((python, '-c', 'print()'), 3)"),
            ("start([python, str(path)])", "print('-c')"),
        ),
        (
            leaves_its_encoding_open,
            ("open(path)", "path.open('w')", "path.open()", "path.read_text()", "path.write_text(text)")
            + ("os.fdopen(handle, 'w')", "subprocess.run(command, text=True)", "open(path, mode='a')"),
            ("open(path, 'rb')", "path.open('wb')", "path.read_text('utf-8')", "os.open(path, flags)")
            + ("path.write_text(text, encoding='utf-8')", "archive.open(name)", "subprocess.run(command)"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_rules_catch_what_they_are_for(rule: Rule, caught: tuple[str, ...], free: tuple[str, ...]) -> None:
    def caught_of(texts: tuple[str, ...]) -> list[str]:
        trees = [(text, ast.parse(text).body[0]) for text in texts]
        return [text for text, tree in trees if isinstance(tree, ast.Expr) and rule(tree.value)]  # type: ignore[arg-type]

    assert caught_of(caught) == list(caught) and caught_of(free) == []


def test_every_test_module_has_a_name_of_its_own() -> None:
    """They import each other by name, and pytest takes two of one name for one."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "__init__.py"]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("bpy", {"scene"}),
        # what tries a device out and the pipeline's engine are named by their modules
        ("torch", {"pipeline", "engines", "local"}),
    ],
)
def test_contracts_of_imports_name_every_package(module: str, allowed: set[str]) -> None:
    """What a contract does not name it does not hold: a new package would import whatever it likes."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in told if module in each.get("forbidden_modules", ())]
    named = {each.split(".")[2] for each in contract["source_modules"] if each.count(".") >= 2}
    packages = {path.parent.name for path in (ROOT / "trellis_addon").glob("*/__init__.py")}
    assert packages - {"ovoxel"} - allowed <= named, "name it under importlinter in pyproject.toml"
