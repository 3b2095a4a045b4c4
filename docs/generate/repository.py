"""Text of the repository on the site: which file becomes which page, sections by their titles, links that follow.

A page of ``docs/`` takes a whole file, or one section of it, by a line of its own:

    <!-- include README.md#To the phone -->
"""

import os
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "add-a-model.md",
    "keras_moe": "api/index.md",
    "MODEL_CARDS.md": "zoo/index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/edge.md": "edge.md",
    "examples/browser/README.md": "how-to/browser.md",
    "examples/service/README.md": "how-to/service.md",
    "examples/mobile.md": "how-to/mobile.md",
}
"""Where the site shows a file. Reports and pictures of models lie at their path in the repository, pages of ``docs`` at
theirs in that folder, and the reference of a room takes the place of its code."""

PICTURES = ("zoo/", "benchmarks/")
"""Folders whose pictures are on the site."""

_INCLUDE = re.compile(r"^<!-- include ([\w./-]+)(?:#(.*))? -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def includes(markdown: str) -> list[tuple[str, str | None]]:
    """``(file, title)`` of each include in a page; None: the whole file."""
    return [(path, title or None) for path, title in _INCLUDE.findall(markdown)]


def expand(markdown: str, page: str) -> str:
    """``markdown`` of ``page``, a file of ``docs``, with what it includes and links that hold on the site."""
    linked = relinked(markdown, f"docs/{page}", page) if (ROOT / "docs" / page).exists() else markdown
    return _INCLUDE.sub(lambda found: include(found[1], found[2], page), linked)


def include(source: str, title: str | None, page: str) -> str:
    """A file of the repository, or its section ``title``, as part of ``page``.

    Raises:
        ValueError: no such section, or a link to a file that is not there.
    """
    text = (ROOT / source).read_text("utf-8")
    if title is not None and title not in sections(text):
        raise ValueError(f"{page}: {source} has no section {title!r}. Expected one of: {list(sections(text))}")
    return relinked(text if title is None else sections(text)[title], source, page)


def sections(markdown: str) -> dict[str, str]:
    """Title -> text of each section of the second level; ``"the beginning"``: what stands before the first."""
    title = "the beginning"
    parts = {title: ""}
    for piece in _FENCE.split(markdown):
        lines = [piece] if piece.startswith("```") else piece.splitlines(keepends=True)
        for line in lines:
            if line.startswith("## "):
                title = line[3:].strip()
                parts[title] = ""
            elif not line.startswith("# "):
                parts[title] += line
    return {title: text.strip() for title, text in parts.items()}


def relinked(markdown: str, source: str, page: str) -> str:
    """``markdown`` of ``source`` with links that hold on ``page``; a link to code becomes its text."""

    def link(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        shown = _shown(target, source)
        if shown is None:
            return found[0]
        return f"{image}[{text}]({os.path.relpath(shown, os.path.dirname(page) or '.')})" if shown else text

    pieces = _FENCE.split(markdown)
    return "".join(piece if piece.startswith("```") else _LINK.sub(link, piece) for piece in pieces)


def _shown(target: str, source: str) -> str | None:
    """The page or picture of the site that ``target``, a link in ``source``, means.

    None: the link holds as it is; ``""``: the site does not show that file.
    """
    if "://" in target:
        return None
    path, _, anchor = target.partition("#")
    if not path:
        published = (ROOT / "zoo" / anchor).is_dir()  # a baseline may come later: tests/zoo asks for it
        return None if source != "MODEL_CARDS.md" else f"zoo/{anchor}/index.md" if published else ""
    file = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if not (ROOT / file).exists():
        raise ValueError(f"{source}: expected a link to a file of the repository. Received: {target}")
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    if os.path.dirname(file) == "keras_moe":
        return f"api/{pathlib.Path(file).stem}.md"
    if (file.startswith("zoo/") and file.endswith(".md")) or (file.startswith(PICTURES) and file.endswith(".png")):
        return file
    script = os.path.dirname(file) == "examples" and file.endswith(".py")
    return f"{file.removesuffix('.py')}.md" if script else ""
