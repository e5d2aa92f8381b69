"""The `?` of a statement's text become `$1`, `$2`, …, which is what PostgreSQL calls parameters.

Not those in literals, quoted names and comments. `??` is a question mark of the statement's own (some operators have
one). What goes into the parameters is never seen here.
"""
import re
from functools import lru_cache

__all__ = ["numbered"]

_TOKEN = re.compile(r"""
    (?P<tag>\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$).*?(?P=tag)     # $tag$ … $tag$
  | \b[eE]'(?:[^'\\]|\\.|'')*'                                            # E'…' knows backslashes
  | '(?:[^']|'')*'
  | "(?:[^"]|"")*"
  | --[^\n]*
  | /\*.*?\*/
  | (?P<mark>\?\??)
""", re.VERBOSE | re.DOTALL)


@lru_cache(maxsize=256)
def numbered(text):
    """(the text with numbered parameters, how many there are)."""
    count = 0

    def replace(found):
        nonlocal count
        if found["mark"] is None:
            return found[0]
        if found["mark"] == "??":
            return "?"
        count += 1
        return f"${count}"

    return _TOKEN.sub(replace, text), count
