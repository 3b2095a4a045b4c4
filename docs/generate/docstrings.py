"""Docstrings as griffe and Markdown read them.

griffe takes examples as code under the name ``Examples`` only, and knows no section for the arguments of a call.
"""

import re
import typing

import griffe

_SESSION = re.compile(r"(?:^|(?<=\n\n))((?:>>>|\.\.\.) .*(?:\n.+)*)", re.MULTILINE)
_CALL = re.compile(r"(?<=^Call arguments:\n)((?: +.*\n?)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Renames ``Example:``, fences what a module shows in its text, and makes a list of the arguments of a call."""

    def on_object(self, *, obj: griffe.Object, **kwargs: typing.Any) -> None:
        if obj.docstring:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            text = _CALL.sub(lambda lines: re.sub(r"^ {4}(?=\S)", "    - ", lines[0], flags=re.MULTILINE), text)
            obj.docstring.value = _SESSION.sub(r"```pycon\n\1\n```", text) if obj.is_module else text
