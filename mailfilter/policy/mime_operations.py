"""Operations on the parts of a message: what there is, what is in it, changing it.

The work is that of mail/mime.py and its neighbours. What grows with the body runs in a thread where the body is not small; a
text is given in pieces, so that searching in it is never one long slice of JavaScript.

Must not know: what a policy looks for.
"""
import threading

from mailfilter.errors import MailfilterError
from mailfilter.mail.editing import Change, edited
from mailfilter.mail.links import LINK_CHARS, links_in
from mailfilter.mail.magic import BEGINNING_OCTETS, media_type
from mailfilter.mail.mime import FIELDS, fields_of, tree_of
from mailfilter.mail.octets import octets
from mailfilter.mail.words import decoded
from mailfilter.policy.message_operations import READ_LIMIT, add_body, in_thread_or_now, message_of, stretch

__all__ = ["decode", "edit", "forget", "headers", "links", "magic", "parts", "read", "text"]

CURSORS = 32
"""Texts of one message that are read in pieces at one time."""

LINKS = 1000
"""Links that one call gives at most."""

LINK_OCTETS = 4 << 20
"""How much of each part's text is searched for links."""


class _Cursor:
    """A text that is read in pieces."""

    def __init__(self, chunks):
        self.chunks = chunks
        self.left = ""
        self.busy = threading.Lock()

    def take(self, count):
        """(at most `count` more characters, whether there may be more)."""
        with self.busy:
            found, size = [self.left], len(self.left)
            while size < count:
                chunk = next(self.chunks, None)
                if chunk is None:
                    self.left = ""
                    return "".join(found), False
                found.append(chunk)
                size += len(chunk)
            whole = "".join(found)
            # No character of two code units in JavaScript is cut: it is one here.
            self.left = whole[count:]
            return whole[:count], True


def _key(handle):
    return int(handle)


def _tree(context, handle):
    message = message_of(context, _key(handle))
    tree = context.message.trees.get(_key(handle))
    if tree is None:
        raise MailfilterError("the parts of this body are not known; call parts() first")
    return message, tree


def _part(tree, number):
    number = int(number)
    if not 0 <= number < len(tree.parts):
        raise MailfilterError(f"there is no part {number}")
    return tree.parts[number]


def _row(part):
    return [part.path, part.parent, part.type, part.charset, part.encoding, part.disposition, part.name, part.content_id,
            part.end - part.start, part.leaf, part.attachment]


def parts(context, waiting, handle, lines):
    """[[row of a part, …], [problem, …]]. lines: the header of the message as text, when it is not the one that arrived."""
    message = message_of(context, _key(handle))
    fields = message.fields if lines is None else fields_of(b"".join(octets(line) + b"\r\n" for line in lines))

    def done(tree):
        trees = context.message.trees
        trees[_key(handle)] = tree
        return [[_row(part) for part in tree.parts], tree.problems]

    return in_thread_or_now(context, waiting, message.body, lambda: tree_of(fields, message.body), done)


def headers(context, handle, number):
    """[name, [line, …], …] of a part's own header; none for the message itself, whose header the policy has."""
    _, tree = _tree(context, handle)
    part = _part(tree, number)
    flat = []
    for field in part.fields[:FIELDS] if part.number else ():
        flat += [field.name, field.parts]
    return flat


def text(context, waiting, handle, number, cursor, count):
    """[text, cursor]: the next characters of a part's decoded text; a new cursor for 0, 0 behind the end."""
    message, tree = _tree(context, handle)
    part = _part(tree, number)
    trees = context.message.trees
    cursor = int(cursor)
    if cursor == 0:
        numbers = [key[1] for key in trees if isinstance(key, tuple)]
        if len(numbers) >= CURSORS:
            raise MailfilterError(f"at most {CURSORS} texts are read in pieces at one time")
        cursor = max(numbers, default=0) + 1
        trees["cursor", cursor] = _Cursor(tree.text(part))
    reading = trees.get(("cursor", cursor))
    if reading is None:
        raise MailfilterError("this text has been read to its end")
    count = min(max(int(count), 1), READ_LIMIT)

    def done(found):
        if found[1]:
            return [found[0], cursor]
        trees.pop(("cursor", cursor), None)
        return [found[0], 0]

    return in_thread_or_now(context, waiting, message.body, lambda: reading.take(count), done)


def forget(context, handle, cursor):
    """A text is not read to its end."""
    message_of(context, _key(handle))
    context.message.trees.pop(("cursor", int(cursor)), None)


def read(context, waiting, handle, number, offset, count):
    """Octets of a part's decoded content, from `offset`, at most `count`."""
    message, tree = _tree(context, handle)
    part = _part(tree, number)
    offset, count = max(int(offset), 0), min(max(int(count), 0), READ_LIMIT)
    return in_thread_or_now(context, waiting, message.body, lambda: stretch(tree.content(part), offset, count))


def magic(context, handle, number):
    """The media type that a part's content begins like, or null."""
    _, tree = _tree(context, handle)
    return media_type(tree.beginning(_part(tree, number), BEGINNING_OCTETS))


def links(context, waiting, handle, limit):
    """The links in all text parts, each once, at most `limit`."""
    message, tree = _tree(context, handle)
    limit = min(max(int(limit), 0), LINKS)
    return in_thread_or_now(context, waiting, message.body, lambda: _links(tree, limit))


def _links(tree, limit):
    found = {}
    for part in tree.texts():
        kept, size = "", 0
        for piece in tree.text(part):
            if len(found) >= limit or size > LINK_OCTETS:
                break
            size += len(piece)
            window = kept + piece
            # A link that may go on is looked at with what follows.
            cut = max(window.rfind(" "), window.rfind("\n"), window.rfind('"'), window.rfind("<"), len(window) - 2 * LINK_CHARS)
            kept = window[cut + 1:] if piece else ""
            for link in links_in(window[:cut + 1] if piece else window, limit):
                found[link] = None
    return list(found)[:limit]


def edit(context, waiting, handle, rows):
    """[number, length, fields to add [name, line, …] or null, names to take away] of the body with these changes:
    [[part, content or null, type or null, name or null], …]."""
    message, tree = _tree(context, handle)
    if len(rows) > len(tree.parts):
        raise MailfilterError("more changes than parts")
    changes = [Change(int(number), content, kind, name) for number, content, kind, name in rows]
    body = context.message.body

    def done(result):
        spool, header = result
        fields, gone = header or ([], ())
        flat = []
        for name, lines in fields:
            flat += [name, list(lines)]
        return [*add_body(context, spool), flat, sorted(gone)]

    return in_thread_or_now(context, waiting, message.body,
                            lambda: edited(tree, changes, body.memory_bytes, body.directory, body.room), done)


def decode(context, value):
    """A header's value with its encoded words decoded."""
    return decoded(value)
