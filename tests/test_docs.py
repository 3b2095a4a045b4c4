"""The README's code runs, and every alternative and cost it quotes comes from a script that is there."""

import pathlib
import re

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.splitlines()[0])
def test_readme_code_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_readme_links_exist():
    for text in (ROOT / "README.md", ROOT / "MODEL_CARDS.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", text.read_text(encoding="utf-8"))
        assert links
        assert not [link for link in links if not (ROOT / link).exists()]
