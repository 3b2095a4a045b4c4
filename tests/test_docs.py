"""The code of README and site runs, their commands exist, and every cost they quote comes from a script that is there.

A block of README stands alone. The blocks of a page of the site are a lesson: they follow one another. A block that
chooses its backend runs in a process of its own.
"""

import argparse
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import keras
import pytest
import zoo_pages

from keras_moe import cli, zoo

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
WRITTEN = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
MODELS = {f"zoo/{name}": zoo_pages.page(zoo.card(name), {}) for name in zoo.list_models("test_*")}  # made alike
APPS = ("examples/mobile.md", "examples/browser/README.md", "examples/service/README.md")
INCLUDED = {path: (ROOT / path).read_text("utf-8") for path in APPS}
PAGES = {"README.md": README, **INCLUDED, **WRITTEN, **MODELS}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
CHOOSES = 'os.environ["KERAS_BACKEND"]'


FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text, language):
    return [code for tag, code in FENCE.findall(text) if tag == language]


def lessons():
    """``(name, code)`` of each block of README, of each page, and of each block that chooses its backend."""
    for i, code in enumerate(blocks(README, "python")):
        yield f"README.md {i}: {code.splitlines()[0]}", code
    for name, text in {**WRITTEN, **MODELS}.items():
        code = blocks(text, "python")
        for i, alone in enumerate(each for each in code if CHOOSES in each):
            yield f"{name} process {i}", alone
        together = [each for each in code if CHOOSES not in each]
        if together:
            yield name, "\n".join(together)


def commands(text):
    """Each command of a page's shell blocks, a list of words without settings of the environment."""
    for line in "".join(blocks(text, "sh")).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
        lexer.whitespace_split = True
        command = []
        for word in [*lexer, ";"]:
            if word != ";":
                command += [] if not command and re.match(r"[A-Z_]+=", word) else [word]
            elif command:
                yield command
                command = []


LESSONS = dict(lessons())
COMMANDS = {f"{name}: {shlex.join(each)}": (name, each) for name, text in PAGES.items() for each in commands(text)}


# What exports runs where that takes no process of its own; training takes longer there.
EXPORTING = [name for name, code in LESSONS.items() if "litert(" in code and "finetune(" not in code]
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports run on TensorFlow")


@pytest.mark.filterwarnings("default:litert. fewer than:UserWarning")  # as the lesson says
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=on_tensorflow if name in EXPORTING else pytest.mark.once) for name in LESSONS]
)
def test_code_runs(name, tmp_path, monkeypatch):
    code = LESSONS[name]
    monkeypatch.chdir(tmp_path)
    if CHOOSES in code:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        exec(compile(code, name, "exec"), {})


@pytest.mark.once
@pytest.mark.parametrize("label", COMMANDS)
def test_commands_exist(label):
    page, (program, *words) = COMMANDS[label]
    folder = (ROOT / page).parent
    if program == "keras-moe":
        parser = subparsers()[words[0]]
        assert {word for word in words if word.startswith("--")} <= set(parser._option_string_actions)
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    elif program == "python" and words[0] == "-m":
        assert importlib.util.find_spec(words[1])
    elif program == "python" and words[0] == "-c":
        compile(words[1], page, "exec")
    elif program == "python":
        assert (folder / words[0]).is_file() or (ROOT / words[0]).is_file()
    elif program == "pip":
        assert set(re.fullmatch(r"install keras-moe\[(.*)\]", " ".join(words))[1].split(",")) <= EXTRAS.keys()
    elif program == "curl":  # tests/service asks
        assert words[-1].startswith("http://localhost:")
    else:
        assert [program, *words] == ["npm", "ci"]
        assert (folder / "package-lock.json").is_file()


@pytest.mark.once
def test_commands_are_marked_as_such():
    """Else the test above would not see them."""
    for name, text in PAGES.items():
        unmarked = blocks(text, "") + blocks(text, "text")
        assert not [each for each in unmarked if re.search(r"^(keras-moe|make|python|pip|npm) ", each, re.M)], name


@pytest.mark.once
def test_links_exist():
    for text in (ROOT / "README.md", ROOT / "MODEL_CARDS.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", text.read_text(encoding="utf-8"))
        assert links
        assert not [link for link in links if not (ROOT / link).exists()]


def subparsers():
    """Name -> parser of each sub-command of ``keras-moe``."""
    (action,) = (each for each in cli._parser()._actions if isinstance(each, argparse._SubParsersAction))
    return action.choices
