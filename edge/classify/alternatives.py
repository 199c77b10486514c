"""One regular expression as several, for the Rust extractor of ua-parser. Pure.

The extractor first looks for all literals of all its expressions at once and then runs only those expressions of which
a literal was found. An expression with many alternatives is run for each literal of any of them, and always when one
alternative has no literal of three characters. Standing alone, each alternative is run for its own; and because the
first expression that matches decides, neighbours with the same answer answer what the one they came from did.
"""


def alternatives(pattern: str) -> list[str]:
    """The expressions between the outermost `|` of `pattern`, in order, each with the flags `(?i)` it began with."""
    flags = "(?i)" if pattern.startswith("(?i)") else ""
    found = [flags]
    depth, in_class, place = 0, False, len(flags)
    while place < len(pattern):
        character = pattern[place]
        width = 1
        if character == "\\":
            width = 2
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            # a bracket that comes first in a class stands for itself
            width += pattern.startswith("^", place + 1)
            width += pattern.startswith("]", place + width)
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            found.append(flags)
            place += 1
            continue
        found[-1] += pattern[place : place + width]
        place += width
    return found
