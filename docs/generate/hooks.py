"""What MkDocs calls: pages that are made from the repository, the cards and the code, and what pages include."""

import re

import api
import repository
import zoo_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of models and rooms to the navigation."""
    for entry in config.nav:
        entry.get("Models", []).extend(zoo_pages.navigation())
        entry.get("Reference", []).extend(api.navigation())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not written by hand."""
    for uri, content in {**zoo_pages.pages(), **api.pages(), **_examples()}.items():
        files.append(File.generated(config, uri, content=content))
    folders = [repository.ROOT / folder for folder in repository.PICTURES]
    for path in sorted(path for folder in folders for path in folder.rglob("*.png")):
        uri = path.relative_to(repository.ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return repository.expand(markdown, page.file.src_uri)


def on_page_content(html: str, **kwargs: object) -> str:
    """Takes away the dash before what a class returns, where no type stands to the left of it."""
    return re.sub(r'(<li class="doc-section-item field-body">)\s*–', r"\1", html)


def _examples() -> dict[str, str]:
    """Each script of ``examples/`` as a page: what it does, and its code."""
    found = {}
    for path in sorted((repository.ROOT / "examples").glob("*.py")):
        code = path.read_text("utf-8")
        title = re.match(r'"""(.*)', code)[1]
        found[f"examples/{path.stem}.md"] = f"# {path.name}\n\n{title}\n\n```python\n{code}```\n"
    return found
