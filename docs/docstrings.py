"""Docstrings as the library writes them, plain text with some Markdown, to reStructuredText for napoleon."""

import re

_EMPHASIS = re.compile(r"(?<![\w*])\*\w+\*(?![\w*])")


def to_rst(lines: list[str]) -> list[str]:
    """Rewrites fenced code, indented formulas, lists and special characters."""
    result = []
    previous = 0  # the indentation of the last line of text
    fence = literal = bullet = None  # inside of a fence, a formula, a list: its indentation
    for line in lines:
        text = line.lstrip()
        indent = len(line) - len(text)
        if fence is not None:
            is_end = text.startswith("```")
            result.append("" if is_end else " " * 4 + line)
            fence = None if is_end else fence
        elif not text or (literal is not None and indent >= literal):
            result.append(line)
        elif text.startswith("```"):
            fence = indent
            result += [" " * indent + f".. code-block:: {text[3:] or 'text'}", ""]
        elif result and not result[-1] and indent >= previous + 4:
            literal = indent
            result += [" " * previous + "::", "", line]
        else:
            literal = None
            is_bullet = text.startswith(("- ", "* "))
            ends = bullet is not None and indent <= bullet and not is_bullet
            if result and result[-1] and (ends or (is_bullet and bullet is None)):
                result.append("")  # reStructuredText wants it before a list and after one
            bullet = indent if is_bullet else None if ends else bullet
            text = f"- {_escaped(text[2:])}" if is_bullet else _escaped(text)
            result.append(" " * indent + text)
            previous = indent
    return result


def _escaped(text: str) -> str:
    """Escapes what means something to reStructuredText outside of `code`, and lets plurals follow `code`s."""
    parts = re.split(r"(`[^`]+`)", text)
    for i in range(0, len(parts), 2):
        plain = [re.sub(r"([*|])", r"\\\1", part) for part in _EMPHASIS.split(parts[i])]
        emphasized = [*_EMPHASIS.findall(parts[i]), ""]
        parts[i] = "".join(a + b for a, b in zip(plain, emphasized, strict=True))
        if i > 0 and parts[i][:1].isalnum():
            parts[i] = "\\ " + parts[i]
    return "".join(parts)
