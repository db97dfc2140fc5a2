"""How a report says things: what others wrote does nothing but stand there."""

import pytest

from bench.report.text import in_markdown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<script>alert(2)</script>", "&lt;script&gt;alert(2)&lt;/script&gt;"),
        ("a&lt;b", "a&amp;lt;b"),
        ("a | b", "a \\| b"),
        ("`rm` \\`rm`", "\\`rm\\` \\\\\\`rm\\`"),
        ("\x1b[31mred\x07\u009b", "[31mred"),
        ("one\n# two", "one # two"),
        ("0.78 [0.71, 0.85] †2 系统", "0.78 [0.71, 0.85] †2 系统"),
    ],
)
def test_words_of_others_are_no_markup(given, shown):
    assert in_markdown(given) == shown
