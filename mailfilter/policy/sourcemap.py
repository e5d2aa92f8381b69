"""Source maps, version 3: from a line of compiled code back to lines of the author's file.

Only what error messages need: the engine tells lines, so a map is asked by line, and names are left out.

Must not know: compilers, policies.
"""
from bisect import bisect_right

__all__ = ["LineMap", "MapError"]

_DIGITS = {letter: value for value, letter in enumerate(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


class MapError(ValueError):
    """A text that is no source map."""


def _numbers(segment):
    """The signed numbers of one segment: base 64, five bits a digit, least first, bit 0 of the number its sign."""
    value = shift = 0
    for letter in segment:
        digit = _DIGITS.get(letter)
        if digit is None or shift > 40:
            raise MapError(f"no source map segment: {segment[:40]!r}")
        value |= (digit & 31) << shift
        if digit & 32:
            shift += 5
            continue
        yield -(value >> 1) if value & 1 else value >> 1
        value = shift = 0
    if shift:
        raise MapError(f"a source map segment ends early: {segment[:40]!r}")


class LineMap:
    """Places by compiled line.

    lines: for each compiled line a list of (compiled column, line, column), all from 0, sorted.
    """

    __slots__ = ("lines",)

    def __init__(self, lines):
        self.lines = lines

    @classmethod
    def decode(cls, mappings):
        """From the text `mappings` of a source map with one source. MapError when it is none."""
        lines, line, column = [], 0, 0
        for text in mappings.split(";"):
            compiled, found = 0, []
            for segment in text.split(",") if text else ():
                numbers = list(_numbers(segment))
                if len(numbers) not in (1, 4, 5):
                    raise MapError(f"a source map segment of {len(numbers)} numbers")
                compiled += numbers[0]
                if len(numbers) > 1:
                    line += numbers[2]
                    column += numbers[3]
                    if compiled < 0 or line < 0 or column < 0:
                        raise MapError("a source map that points before the beginning")
                    found.append((compiled, line, column))
            found.sort()
            lines.append(found)
        return cls(lines)

    def after(self, earlier):
        """The map of two steps: this one's places are lines and columns that `earlier` leads further back."""
        lines = []
        for segments in self.lines:
            found = []
            for compiled, line, column in segments:
                place = earlier.before(line, column)
                if place is not None:
                    found.append((compiled, *place))
            lines.append(found)
        return LineMap(lines)

    def before(self, line, column):
        """(line, column) of where the code at this place (all from 0) comes from, or None."""
        if not 0 <= line < len(self.lines):
            return None
        segments = self.lines[line]
        at = bisect_right(segments, column, key=lambda segment: segment[0])
        return segments[max(at - 1, 0)][1:] if segments else None

    def places(self, line):
        """What line number `line` (from 1) was made of: a list of (line, column), from 1, without repeated lines."""
        found, seen = [], set()
        for _, source_line, column in self.lines[line - 1] if 0 < line <= len(self.lines) else ():
            if source_line not in seen:
                seen.add(source_line)
                found.append((source_line + 1, column + 1))
        return found
