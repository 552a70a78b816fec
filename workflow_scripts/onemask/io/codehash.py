"""A hash of what a script's code means: the script and every module of this project that it imports, however deep.

Comments, layout, docstrings, annotations of functions and the wording of messages do not count: they change no result.
"""

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("onemask", "job", "model_job")
NO_RESULTS = ("onemask/io/errors.py", "onemask/io/progress.py")  # what they say is read by people alone
IN_PARTS = ("schemas.py", "model_job.py")  # of a module of these names only what is imported counts, and what that is made of
MESSAGES = {"OnemaskError", "logging.info", "logging.warning", "logging.error", "logging.exception"}
WHOLE = "*"  # all names of a module

Definition = ast.FunctionDef | ast.ClassDef


class _Meaning(ast.NodeTransformer):
    """Takes out what changes no result."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(node.func, [], []) if _name(node.func) in MESSAGES else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg, None)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        return None if _name(node.test) == "TYPE_CHECKING" else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        _without_docstring(node)
        return _without_unread_texts(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        return _without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        return _without_docstring(node)


def _name(node: ast.expr) -> str:
    """A name, or a name and its attribute, as written; "" for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _without_docstring(node: Definition | ast.Module) -> Definition | ast.Module:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return node


def _is_text(node: ast.expr) -> bool:
    """Is it a text, or several, put together or chosen from texts? Working it out has no effect but itself."""
    if isinstance(node, ast.Tuple):
        return all(map(_is_text, node.elts))
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.Call):
        return _name(node.func) in ("repr", "str")
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_unread(statement: ast.stmt, read: set[str]) -> bool:
    """Does it put texts into variables that nothing reads (any longer, since messages were taken out)?"""
    if not isinstance(statement, ast.Assign) or not _is_text(statement.value):
        return False
    targets = [node for target in statement.targets for node in getattr(target, "elts", [target])]
    return all(isinstance(target, ast.Name) and target.id not in read for target in targets)


def _without_unread_texts(node: ast.FunctionDef) -> ast.FunctionDef:
    """A function without the texts that only messages were made of."""
    while True:
        read = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
        unread = [part for part in ast.walk(node) if isinstance(part, ast.stmt) and _is_unread(part, read)]
        if not unread:
            return node
        for part in ast.walk(node):
            for field in ("body", "orelse", "finalbody"):
                if isinstance(block := getattr(part, field, None), list):
                    kept = [statement for statement in block if statement not in unread]
                    setattr(part, field, kept or block and [ast.Pass()])


@functools.cache
def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@functools.cache
def _meaning(code: str) -> ast.Module:
    return ast.fix_missing_locations(_Meaning().visit(ast.parse(code)))


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement of a module defines."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, Definition):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


@functools.cache
def _part(code: str, names: frozenset[str]) -> list[ast.stmt]:
    """The statements of a module that define some names, and what these are made of; all of them for `WHOLE`."""
    statements, needed = _meaning(code).body, set(names)
    if WHOLE in names:
        return statements
    while True:
        parts = [statement for statement in statements if _defined(statement) & needed]
        used = {node.id for statement in parts for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if used <= needed:
            return parts
        needed |= used


def _module_files(name: str) -> list[Path]:
    """Files that importing a module of this project by its dotted name runs, its own last; none where it is another's.

    Told by name: where the package is installed, everybody's modules lie beside it.
    """
    parts = name.split(".")
    if parts[0] not in OURS:
        return []
    parents = [ROOT.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    return [file for file in (*parents, ROOT.joinpath(*parts).with_suffix(".py")) if file.is_file()]


@functools.cache
def _imports(file: Path, names: frozenset[str]) -> list[tuple[Path, str]]:
    """Files of this project that a part of a module imports directly, each with the name that is imported from it."""
    imported = []
    for node in (node for statement in _part(_read(file), names) for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            imported += [(file, WHOLE) for alias in node.names for file in _module_files(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imported += [(file, alias.name) for file in _module_files(node.module)]
                imported += [(file, WHOLE) for file in _module_files(f"{node.module}.{alias.name}")]
    return [(file, name if file.name in IN_PARTS else WHOLE) for file, name in imported]


def code_behind(*files: Path) -> dict[Path, frozenset[str]]:
    """The files themselves and all they import within this project, sorted; of each the names that count, or `WHOLE`."""
    todo, behind = [(Path(file).resolve(), WHOLE) for file in files], {}
    while todo:
        file, name = todo.pop()
        if name not in behind.get(file, ()) and file.relative_to(ROOT).as_posix() not in NO_RESULTS:
            behind[file] = behind.get(file, frozenset()) | {name}
            todo += _imports(file, frozenset({name}))
    return dict(sorted(behind.items()))


def files_behind(*files: Path) -> list[Path]:
    """The files of `code_behind`."""
    return list(code_behind(*files))


@functools.cache
def _written(code: str, names: frozenset[str]) -> str:
    """A part of a module as code again, in one layout."""
    return ast.unparse(ast.Module(_part(code, names), []))


@functools.cache
def _digest(file: Path, names: frozenset[str]) -> bytes:
    return hashlib.sha256(f"{file.relative_to(ROOT).as_posix()}\0{_written(_read(file), names)}".encode()).digest()


def code_hash(*files: Path) -> str:
    """SHA-256 over the meaning of `code_behind`; neither the project's place nor packages of others count."""
    return hashlib.sha256(b"".join(_digest(file, names) for file, names in code_behind(*files).items())).hexdigest()


def forget() -> None:
    """Read every file anew from now on: each is read once, since a run asks for the hash of every rule."""
    for function in (_read, _imports, _digest):
        function.cache_clear()
