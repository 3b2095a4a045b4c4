"""The documentation site: whole, no text twice, built without a warning, asking for nothing outside itself."""

import os
import pathlib
import re
import subprocess
import sys

import api
import pytest
import repository

from keras_moe import zoo

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("site")]

ROOT = pathlib.Path(__file__).parents[1]
NOT_SHOWN = {"Guides"}  # the site has its own navigation
AT_BUILD = ["Published models"]  # included by docs/generate/zoo_pages.py
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_model_has_a_page_with_its_facts(site):
    for name in zoo.list_models():
        page = (site / "zoo" / name / "index.html").read_text("utf-8")
        card = zoo.card(name)
        assert card.summary.split("'")[0] in page
        assert all(file.sha256 in page for file in card.files)


def test_lists_tables_and_heads_are_drawn_as_such(site):
    """Without the empty line before it, Markdown makes a list part of the paragraph above."""
    raw = re.compile(r"<p>(?:(?!</p>).)*?\n(?:- |\* |\d+\. |\||#|```)", re.DOTALL)
    code = re.compile(r"<pre.*?</pre>", re.DOTALL)
    assert [str(page) for page in site.rglob("*.html") if raw.search(code.sub("", page.read_text("utf-8")))] == []


def test_every_exported_name_is_in_the_reference(site):
    for room in (*api.ROOMS, *api.MODULES):
        page = (site / "api" / f"{room}.html").read_text("utf-8")
        assert api.exported(room)
        assert [path for path in api.exported(room).values() if f'id="{path}"' not in page] == []


def test_examples_are_shown_as_code(site):
    page = (site / "api" / "layers.html").read_text("utf-8")
    assert "&gt;&gt;&gt;" in page
    assert "<blockquote>" not in page


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    assert not [str(page) for page in pages if LOADED.search(page.read_text("utf-8"))]
    assert not [
        str(css) for css in site.rglob("*.css") if re.search(r"(@import|url\()\s*[\"']?(https?:)?//", css.read_text())
    ]


def test_each_section_of_the_readme_stands_on_one_page():
    pages = (ROOT / "docs").rglob("*.md")
    included = [
        title
        for page in pages
        for source, title in repository.includes(page.read_text("utf-8"))
        if source == "README.md"
    ]
    sections = set(repository.sections((ROOT / "README.md").read_text("utf-8")))
    assert sorted(included + AT_BUILD) == sorted(sections - NOT_SHOWN)


def test_links_follow_what_is_included():
    page = "how-to/x.md"
    text = repository.relinked("[a](zoo/hydranet_cifar100/alternatives.md) [b](pyproject.toml)", "README.md", page)
    assert text == "[a](../zoo/hydranet_cifar100/alternatives.md) b"
    assert repository.relinked("[c](#fsrcnn_x2)", "MODEL_CARDS.md", page) == "[c](../zoo/fsrcnn_x2/index.md)"
    with pytest.raises(ValueError, match=r"Received: nowhere\.md"):
        repository.relinked("[d](nowhere.md)", "README.md", page)


def test_sections_end_at_titles_outside_code():
    text = "# T\nfirst\n## A\n```sh\n## no title\n```\nrest\n## B\n"
    assert repository.sections(text) == {"the beginning": "first", "A": "```sh\n## no title\n```\nrest", "B": ""}
