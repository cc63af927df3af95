"""A docstring in Google style is read as its writer meant it."""

from __future__ import annotations

import ast

from dlrun.config.docstrings import Docstring, read_docstring

FUNCTION = '''
def f(x, *, rate, size=3, colours=()):
    """Do something: the first line.

    A paragraph of
    two lines.

    Note: another one, with `Args:` in it.

    Args:
        rate (float): Speed of change,
            such as: 0.1.
        size: Pixels.

        colours:
            Red, green and blue.

    Example:
        f: {name: f,
            rate: 0.1}

    A last one.
    """
'''


def docstring(source: str) -> Docstring:
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    return read_docstring(ast.get_docstring(function) or "")


def test_sections_stand_apart_from_paragraphs() -> None:
    assert docstring(FUNCTION) == Docstring(
        "Do something: the first line.",
        ("A paragraph of two lines.", "Note: another one, with `Args:` in it.", "A last one."),
        {"rate": "Speed of change, such as: 0.1.", "size": "Pixels.", "colours": "Red, green and blue."},
        "f: {name: f,\n    rate: 0.1}",
    )


def test_a_docstring_needs_no_section() -> None:
    assert docstring("def f():\n    '''Only this.'''") == Docstring("Only this.")
    assert docstring("def f(): pass") == Docstring()
