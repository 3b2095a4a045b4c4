"""The reference: a page for each room, from its docstrings, and the help of the command, which alone is imported."""

import argparse
import ast
import functools

from repository import ROOT

ROOMS = ("models", "layers", "training", "zoo", "datasets", "export", "insights", "metrics", "super_resolution")
MODULES = ("classify", "cost", "graph", "images", "picture", "recipes", "weights")


def navigation() -> list[dict[str, str]]:
    return [{f"keras_moe.{room}": f"api/{room}.md"} for room in (*ROOMS, *MODULES)]


def pages() -> dict[str, str]:
    """uri -> Markdown of the reference."""
    rooms = (*ROOMS, *MODULES)
    rows = "\n".join(f"| [`keras_moe.{room}`]({room}.md) | {_summary(room)} |" for room in rooms)
    index = f"# Reference\n\nEvery example below runs in a test.\n\n| room | what it holds |\n|---|---|\n{rows}\n"
    return {
        "api/index.md": index,
        "api/command-line.md": _command_line(),
        **{f"api/{room}.md": _room(room) for room in rooms},
    }


def exported(room: str) -> dict[str, str]:
    """Name -> path of the classes, functions and described constants that a room offers."""
    names = {}
    for node, following in zip(_tree(room).body, [*_tree(room).body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name: node.module for alias in node.names if alias.asname and not alias.name.isupper()}
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names[node.name] = None
        elif isinstance(node, ast.Assign) and _is_text(following):
            names |= {target.id: None for target in node.targets if isinstance(target, ast.Name)}
    public = sorted((name for name in names if not name.startswith("_")), key=str.lower)
    return {name: f"{_holder(room, name, names[name])}.{name}" for name in public}


def _holder(room: str, name: str, module: str | None) -> str:
    """The room; or the module of its own where one of the same name hides the function."""
    hidden = module == f"keras_moe.{room}.{name}"
    return module if hidden and module else f"keras_moe.{room}"


def _room(room: str) -> str:
    options = "{members: false, show_root_heading: false, show_root_toc_entry: false}"
    head = f"# keras_moe.{room}\n\n::: keras_moe.{room}\n    options: {options}\n"
    return head + "".join(f"\n::: {path}\n" for path in exported(room).values())


def _summary(room: str) -> str:
    return (ast.get_docstring(_tree(room)) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


@functools.cache
def _tree(room: str) -> ast.Module:
    folder = ROOT / "keras_moe"
    path = folder / room / "__init__.py"
    return ast.parse((path if path.exists() else folder / f"{room}.py").read_text("utf-8"))


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _command_line() -> str:
    """The help of ``keras-moe`` and of each of its sub-commands."""
    import keras_moe_cli  # noqa: F401  first, so that Keras is not imported
    from keras_moe import cli

    parser = cli._parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {"keras-moe": parser, **{f"keras-moe {name}": each for name, each in commands.choices.items()}}
    return "# Command line\n" + "".join(f"\n## {name}\n\n```text\n{_help(p)}```\n" for name, p in helps.items())


def _help(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = functools.partial(argparse.HelpFormatter, width=80)
    return parser.format_help()
