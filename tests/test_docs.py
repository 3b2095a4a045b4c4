"""The code of README and site runs, their commands exist, and every cost they quote comes from a script that is there.

A block of README stands alone. The blocks of a page of the site are a lesson: they follow one another. A lesson that
chooses its backend runs in a process of its own.
"""

import argparse
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from keras_moe import cli

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
SITE = sorted((ROOT / "docs").rglob("*.md"))
SHOWN = [ROOT / "README.md", ROOT / "examples" / "mobile.md", ROOT / "examples" / "browser" / "README.md", *SITE]
CHOOSES = 'os.environ["KERAS_BACKEND"]'


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


def lessons():
    """``(name, code)`` of each block of README, and of each page; a block with its own backend is one by itself."""
    for code in blocks(ROOT / "README.md", "python"):
        yield code.splitlines()[0], code
    for path in SITE:
        code = blocks(path, "python")
        for i, alone in enumerate(each for each in code if CHOOSES in each):
            yield f"{path.relative_to(ROOT)} process {i}", alone
        together = [each for each in code if CHOOSES not in each]
        if together:
            yield str(path.relative_to(ROOT)), "\n".join(together)


LESSONS = dict(lessons())


def commands(path):
    """Each command of a page's shell blocks, a list of words without settings of the environment."""
    for line in "".join(blocks(path, "sh")).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
        lexer.whitespace_split = True
        command = []
        for word in [*lexer, ";"]:
            if word != ";":
                command += [] if not command and re.match(r"[A-Z_]+=", word) else [word]
            elif command:
                yield command
                command = []


COMMANDS = [(path, command) for path in SHOWN for command in commands(path)]


@pytest.mark.parametrize("name", LESSONS)
def test_code_runs(name, tmp_path, monkeypatch):
    code = LESSONS[name]
    monkeypatch.chdir(tmp_path)
    if CHOOSES in code:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        exec(compile(code, name, "exec"), {})


def test_links_exist():
    for text in (ROOT / "README.md", ROOT / "MODEL_CARDS.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", text.read_text(encoding="utf-8"))
        assert links
        assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda value: value if isinstance(value, str) else None)
def test_commands_exist(path, command):
    program, *words = command
    if program == "keras-moe":
        parser = subparsers()[words[0]]
        assert {word for word in words if word.startswith("--")} <= set(parser._option_string_actions)
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    elif program == "python" and words[0] == "-m":
        assert importlib.util.find_spec(words[1])
    elif program == "python" and words[0] == "-c":
        compile(words[1], str(path), "exec")
    elif program == "python":
        assert (path.parent / words[0]).is_file()
    else:
        assert command == ["npm", "ci"]
        assert (path.parent / "package-lock.json").is_file()


def test_commands_are_marked_as_such():
    """Else the test above would not see them."""
    for path in SHOWN:
        plain = blocks(path, "text") + re.findall(
            r"^```\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        assert not [text for text in plain if re.search(r"^(keras-moe|make|python|pip|npm) ", text, re.MULTILINE)], path


def subparsers():
    """Name -> parser of each sub-command of ``keras-moe``."""
    (action,) = (each for each in cli._parser()._actions if isinstance(each, argparse._SubParsersAction))
    return action.choices
