"""Authentication-Results as text (RFC 8601): reading a value, and whose it claims to be.

Anybody may have written the value: every octet is looked at a bounded number of times, and what does not follow the grammar makes
an end of what is believed, never an exception.

Must not know: headers as objects, policies, what a result is worth.
"""
import re
import unicodedata

import idna

__all__ = ["Result", "Results", "claims", "read"]

VALUE_OCTETS = 16384
"""The longest value that is looked at, in characters."""

NAME_OCTETS = 1024
"""The longest authserv-id that is compared with ours, in characters. Bringing a text into its normal form takes time that may
grow with the square of its length."""

PIECES = 1000
"""Comments and properties of one value that are looked at."""

DEPTH = 64
"""How deep comments may be nested."""

RESULTS = 200
"""Results of one value that are kept."""

_BLANKS = re.compile(r"[ \t\r\n]+")
_TOKEN = re.compile(r"""[^\x00-\x20\x7f()<>@,;:\\"/\[\]?=]+""")
_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_DIGITS = re.compile(r"[0-9]{1,9}")
_PLAIN_VALUE = re.compile(r"""[^\x00-\x20\x7f()";\\]+""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMENT_PART = re.compile(r"(?:[^()\\]|\\.)+", re.DOTALL)


class Results:
    """What a value says.

    authserv_id: who says so; None when it cannot be read. version: a number. results: the Results in their order, as far as the
    value follows the grammar; problem: where it does not, in words, else None. offset: in the value, behind authserv-id
    and version: there the results begin, with their ";".
    """

    __slots__ = ("authserv_id", "version", "results", "problem", "offset")

    def __init__(self):
        self.authserv_id = None
        self.version = 1
        self.results = []
        self.problem = None
        self.offset = 0


class Result:
    """One method with its result.

    method, result: in lower case. method_version: a number. reason: a text or None. comment: the comments that stand
    between the result and its properties, or None. properties: [(name as "smtp.mailfrom" in lower case, value), …].
    """

    __slots__ = ("method", "method_version", "result", "reason", "comment", "properties")

    def __init__(self, method, version):
        self.method = method
        self.method_version = version
        self.result = None
        self.reason = None
        self.comment = None
        self.properties = []


class _Unreadable(Exception):
    pass


class _Reader:
    """A place in a text, moving on."""

    def __init__(self, text):
        self.text = text
        self.at = 0
        self.pieces = 0

    def skip(self):
        """Go over blanks and comments (CFWS); gives the comments' text."""
        comments = []
        while True:
            blanks = _BLANKS.match(self.text, self.at)
            if blanks:
                self.at = blanks.end()
            if not self.text.startswith("(", self.at):
                return comments
            comments.append(self._comment())
            self.count()

    def count(self):
        """One more comment or property."""
        self.pieces += 1
        if self.pieces > PIECES:
            raise _Unreadable(f"more than {PIECES} comments and properties")

    def _comment(self):
        depth, start = 0, self.at + 1
        while True:
            if self.at >= len(self.text):
                raise _Unreadable("a comment without end")
            char = self.text[self.at]
            if char == "(":
                depth += 1
                if depth > DEPTH:
                    raise _Unreadable("comments nested too deep")
                self.at += 1
            elif char == ")":
                depth -= 1
                self.at += 1
                if depth == 0:
                    return _ESCAPED.sub(r"\1", self.text[start:self.at - 1])
            else:
                part = _COMMENT_PART.match(self.text, self.at)
                if part is None:
                    raise _Unreadable("a comment without end")
                self.at = part.end()

    def take(self, pattern):
        """What matches here, or None."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def sign(self, char):
        """Go over a character that must be here."""
        if not self.text.startswith(char, self.at):
            raise _Unreadable(f"{char!r} is missing")
        self.at += 1

    def value(self):
        """A token or quoted string."""
        if self.text.startswith('"', self.at):
            return self.quoted()
        found = self.take(_TOKEN)
        if found is None:
            raise _Unreadable("a value is missing")
        return found

    def quoted(self):
        """A quoted string, without its quotes."""
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            raise _Unreadable("a quoted string without end")
        self.at = found.end()
        return _ESCAPED.sub(r"\1", _BLANKS.sub(" ", found[1]) if "\n" in found[1] else found[1])

    def property_value(self):
        """The value of a property: also an address, and what the world writes there without quotes."""
        text = self.quoted() if self.text.startswith('"', self.at) else ""
        return text + (self.take(_PLAIN_VALUE) or "")

    @property
    def ended(self):
        return self.at >= len(self.text)


def read(text):
    """Read a value (str, folded or not) as Results."""
    found = Results()
    if len(text) > VALUE_OCTETS:
        found.problem = f"longer than {VALUE_OCTETS} characters"
        return found
    reader = _Reader(text)
    try:
        _read_id(reader, found)
        while True:
            reader.skip()
            if reader.ended:
                break
            reader.sign(";")
            reader.skip()
            if reader.ended:
                break       # a final ";": not allowed, but clear
            if len(found.results) >= RESULTS:
                raise _Unreadable(f"more than {RESULTS} results")
            _read_result(reader, found)
    except _Unreadable as problem:
        found.problem = str(problem)
    return found


def _read_id(reader, found):
    reader.skip()
    name = reader.value()
    end = reader.at
    reader.skip()
    if not reader.ended and not reader.text.startswith(";", reader.at):
        if reader.at == end:
            raise _Unreadable("no authserv-id")
        version = reader.take(_DIGITS)
        if version is None:
            raise _Unreadable("no version behind the authserv-id")
        found.version = int(version)
        end = reader.at
        reader.skip()
        if not reader.ended and not reader.text.startswith(";", reader.at):
            raise _Unreadable("something behind the authserv-id")
    found.authserv_id = name
    found.offset = end


def _read_result(reader, found):
    method = reader.take(_KEYWORD)
    if method is None:
        raise _Unreadable("a method is missing")
    reader.skip()
    if method.lower() == "none" and not found.results and (reader.ended or reader.text.startswith(";", reader.at)):
        return              # no-result
    version = 1
    if reader.text.startswith("/", reader.at):
        reader.sign("/")
        reader.skip()
        digits = reader.take(_DIGITS)
        if digits is None:
            raise _Unreadable("a method's version is a number")
        version = int(digits)
        reader.skip()
    reader.sign("=")
    reader.skip()
    result = Result(method.lower(), version)
    word = reader.take(_KEYWORD)
    if word is None:
        raise _Unreadable("a result is missing")
    result.result = word.lower()
    _boundary(reader)
    comments = reader.skip()
    _read_details(reader, result, comments)
    result.comment = " ".join(comments) or None
    found.results.append(result)


def _boundary(reader):
    """What follows a word: its end, or another grammar's business."""
    if not reader.ended and reader.text[reader.at] not in " \t\r\n(;":
        raise _Unreadable("a result is a word")


def _read_details(reader, result, comments):
    """reason= and properties."""
    while not reader.ended and not reader.text.startswith(";", reader.at):
        name = reader.take(_KEYWORD)
        if name is None:
            raise _Unreadable("a property is missing")
        more = reader.skip()
        if name.lower() == "reason" and reader.text.startswith("=", reader.at):
            reader.sign("=")
            reader.skip()
            result.reason = reader.value()
        else:
            reader.sign(".")
            reader.skip()
            part = reader.take(_KEYWORD)
            if part is None:
                raise _Unreadable("a property without name")
            reader.skip()
            reader.sign("=")
            reader.skip()
            reader.count()
            result.properties.append((f"{name}.{part}".lower(), reader.property_value()))
        comments += more + reader.skip()


# -- whose it is -----------------------------------------------------------------------------------------------------


def claims(text, authserv_id):
    """Whether a value may be taken for one of `authserv_id`, by whatever reader comes after us (RFC 8601 §5).

    Names are compared as readers may: without case, final dot and invisible characters, in compatible spellings, U-labels as
    A-labels. A value whose author cannot be read is nobody's, and may be taken for anybody's.
    """
    found = Results()
    try:
        if len(text) <= VALUE_OCTETS:
            _read_id(_Reader(text), found)
    except _Unreadable:
        pass
    if found.authserv_id is None or len(found.authserv_id) > NAME_OCTETS:
        return True
    claimed = _plain_name(found.authserv_id)
    return claimed is None or claimed == _plain_name(authserv_id)


def _plain_name(name):
    """A name in the one form in which it is compared; None when it has none."""
    name = unicodedata.normalize("NFKC", name)
    name = "".join(char for char in name if unicodedata.category(char)[0] not in "CZ").casefold()
    name = re.sub("[\u3002\uff0e\uff61]", ".", name).strip(".")
    try:
        labels = [label if label.isascii() and not label.startswith("xn--") else
                  idna.encode(idna.decode(label) if label.isascii() else label, uts46=True).decode("ascii")
                  for label in name.split(".")]
    except (idna.IDNAError, UnicodeError):
        return None
    name = ".".join(labels)
    return name if re.fullmatch(r"[!-~]+", name) else None
