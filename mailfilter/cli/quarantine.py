"""The command `mailfilter quarantine`: what is held, and releasing or deleting it.

What is printed of a message is untrusted and escaped. Must not know: how messages are stored, SMTP.
"""
import argparse
import asyncio
import json
import os
import re
import sys
import textwrap
import time

from mailfilter import config
from mailfilter import log as logs
from mailfilter.cli.arguments import UsageError, complain, hostname_of
from mailfilter.errors import ConfigError, MailfilterError

__all__ = ["add"]

_EXAMPLES = """\
examples:
  mailfilter quarantine list --directory /var/spool/quarantine
      what is held: identifier, time, sender, recipients, subject, size, reason
  mailfilter quarantine show 3k9 --directory /var/spool/quarantine
      envelope and header of the message whose identifier begins with 3k9; with --raw the message itself
  mailfilter quarantine release 3k9 --next-hop 127.0.0.1:10025 --directory /var/spool/quarantine
      deliver it to its recipients by the server behind, and remove it when all of them have it
  mailfilter quarantine purge --older-than 14d --directory /var/spool/quarantine
      remove what came more than two weeks ago

Without --directory it is the environment's MAILFILTER_QUARANTINE_DIRECTORY, as for the policies' setting quarantineDirectory.
Run it as the user of the server, or as root.

Exit status 0: all of it done; 1: something was not; 2: the command line is wrong; 130: interrupted.
"""

_AGE = re.compile(r"([0-9]+)(d|h|min|m|s)")
_AGE_UNITS = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1}
_HEADER_OCTETS = 1 << 20
_HEAD = ("ID", "TIME", "FROM", "TO", "SIZE", "REASON", "SUBJECT")
_WIDTHS = (10, 16, 32, 32, 7, 32, 60)


def add(commands):
    """Add the command to argparse's."""
    wide = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "quarantine", help="list, show, release and delete messages that a policy holds back", formatter_class=wide,
        description="List, show, release and delete messages that a policy holds back.", epilog=_EXAMPLES)
    verbs = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)

    def verb(name, run, words):
        made = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        made.set_defaults(run=run)
        made.add_argument("--directory", metavar="D",
                          help="the quarantine (default: the environment's MAILFILTER_QUARANTINE_DIRECTORY)")
        return made

    def identifiers(parser, number):
        parser.add_argument("ids", metavar="ID", nargs=number, help="what a message is called, or how only its name begins")

    listing = verb("list", _list, "list what is held, the oldest first")
    listing.add_argument("--json", action="store_true", help="print an array of all that is known of each message")
    showing = verb("show", _show, "show envelope and header of a message")
    identifiers(showing, 1)
    showing.add_argument("--raw", action="store_true", help="write the message itself to standard output, octet for octet")
    releasing = verb("release", _release, "deliver messages, and remove those that all their recipients have")
    identifiers(releasing, "+")
    releasing.add_argument("--next-hop", metavar="ADDR",
                           help="the server that gets them: HOST:PORT, [IPv6]:PORT or unix:/path")
    releasing.add_argument("--lmtp", action="store_true", help="it speaks LMTP")
    releasing.add_argument("--tls", choices=("off", "opportunistic", "required", "verified"), default="off",
                           help="TLS to it (default: off)")
    releasing.add_argument("--ca", metavar="FILE", help="file or folder of the CAs for verified (default: the system's)")
    releasing.add_argument("--maildir", metavar="D", help="write them into a Maildir instead")
    releasing.add_argument("--to", metavar="ADDRESS", action="append", default=[],
                           help="to this address instead of the recipients; may be repeated")
    releasing.add_argument("--hostname", metavar="H", help="our name in EHLO (default: the machine's)")
    releasing.add_argument("--timeout", metavar="NAME=S", action="append", default=[],
                           help="how long to wait for the server, as for `serve`")
    identifiers(verb("delete", _delete, "remove messages for good, without asking"), "+")
    purging = verb("purge", _purge, "remove messages that are old")
    purging.add_argument("--older-than", metavar="AGE", required=True, help="an age: 30d, 12h, 90m")
    purging.add_argument("--dry-run", action="store_true", help="only say which")


def _opened(options):
    from mailfilter.services.quarantine import Quarantine
    path = options.directory or config.Settings().get("quarantineDirectory")
    if not path:
        raise UsageError("where is the quarantine? Give --directory D, or MAILFILTER_QUARANTINE_DIRECTORY in the environment")
    if not os.path.isdir(path):
        raise ConfigError(f"--directory {path}: there is no such directory")
    return Quarantine(path)


# Listing and showing.

def _list(options):
    entries = _opened(options).entries()
    if options.json:
        print(json.dumps([{**entry.envelope, "id": entry.id, "problem": entry.problem} for entry in entries], indent=2))
        return 0
    rows = [_HEAD, *map(_row, entries)]
    widths = [min(max(len(row[column]) for row in rows), most) for column, most in enumerate(_WIDTHS)]
    for row in rows if entries else ():
        print("  ".join(_cell(text, width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(entry):
    envelope = entry.envelope
    recipients = [row["path"][1:-1] for row in envelope.get("recipients", ())]
    more = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    first = recipients[0] if recipients else "?"
    cells = (entry.id, envelope["time"][:16].replace("T", " "), _sender(envelope),
             _cut(logs.escape(first), _WIDTHS[3] - len(more)) + more, _size(envelope.get("size")),
             entry.problem or envelope.get("reason", ""), envelope.get("subject", ""))
    return [text if column == 3 else logs.escape(text) for column, text in enumerate(cells)]


def _cell(text, width):
    return _cut(text, width).ljust(width)


def _cut(text, width):
    return text if len(text) <= width else text[:width - 1] + "\u2026"


def _sender(envelope):
    path = envelope.get("sender", {}).get("path", "?")
    return path if path == "<>" else path.removeprefix("<").removesuffix(">")


def _size(octets):
    if not isinstance(octets, int):
        return "?"
    for unit in ("", "k", "M"):
        if octets < 10000:
            return f"{octets}{unit}"
        octets //= 1024
    return f"{octets}G"


def _show(options):
    store = _opened(options)
    with store.read(store.find(options.ids[0])) as held:
        return _show_one(options, held)


def _show_one(options, held):
    entry, chunks = held.entry, held.chunks()
    if entry.problem:
        complain(f"{entry.id}: {entry.problem}")
    if options.raw:
        sys.stdout.flush()
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return 1 if entry.problem else 0
    envelope, client = entry.envelope, entry.envelope.get("client", {})
    facts = [("id", entry.id), ("time", envelope["time"]), ("session", envelope.get("session")),
             ("client", client.get("address")), ("hello", client.get("hello")), ("user", client.get("authenticated")),
             ("sender", _path_of(envelope.get("sender")))]
    facts += [("recipient", _path_of(row)) for row in envelope.get("recipients", ())]
    facts += [("has it", f"{path}: {reply}") for path, reply in held.done().items()]
    facts += [("size", envelope.get("size")), ("reason", envelope.get("reason")), ("score", envelope.get("score"))]
    for name, value in facts:
        if value not in (None, ""):
            print(f"{name + ':':11}{logs.escape(value)}")
    if envelope.get("symbols"):
        print(textwrap.fill(" ".join(map(logs.escape, envelope["symbols"])), 100, initial_indent="symbols:".ljust(11),
                            subsequent_indent=" " * 11))
    print()
    head = b""
    for chunk in chunks:
        head += chunk
        if b"\r\n\r\n" in head or len(head) > _HEADER_OCTETS:
            break
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        # A tab folds most headers; the terminal may have it.
        print("\t".join(map(logs.escape, line.split(b"\t"))))
    return 1 if entry.problem else 0


def _path_of(row):
    if row is None:
        return None
    return row["path"] + "".join(f" {name}" + ("" if value is None else f"={value}")
                                 for name, value in row.get("parameters", {}).items())


# Releasing and deleting.

def _release(options):
    if (options.next_hop is None) == (options.maildir is None):
        raise UsageError("where to? Give --next-hop ADDR or --maildir D")
    recipients = [(_address(text), {}) for text in options.to]
    if options.maildir is None:
        send = _by_next_hop(options)
    else:
        if recipients:
            raise UsageError("--to is for --next-hop: a Maildir asks for no address")
        send = _by_maildir(options)
    store = _opened(options)
    status = 0
    for beginning in options.ids:
        try:
            with store.taken(store.find(beginning)) as held:
                status |= _release_one(held, recipients, send)
        except MailfilterError as error:
            complain(f"not released: {error}")
            status = 1
    return status


def _release_one(held, recipients, send):
    """Deliver one message to those who do not have it yet; the exit status."""
    entry = held.entry
    if entry.problem:
        raise MailfilterError(f"{entry.id}: {entry.problem}")
    if not recipients:
        recipients = [(row["path"], row["parameters"]) for row in entry.envelope["recipients"]]
    done = held.done()
    for path, reply in done.items():
        if path in dict(recipients):
            _say(entry.id, path, f"has it already: {reply}")
    left = {path: parameters for path, parameters in recipients if path not in done}

    def told(path, code, text):
        if 200 <= code < 300:
            held.note({path: text})
            left.pop(path, None)
            _say(entry.id, path, f"released: {text}")
        else:
            _say(entry.id, path, f"not released: {text}")

    failed = None
    if left:
        try:
            send(held, list(left.items()), told)
        except MailfilterError as error:
            failed = error
        except OSError as error:
            failed = MailfilterError(error.strerror or error)
    if failed is not None:
        complain(f"{entry.id}: {failed}")
    if left:
        print(f"{entry.id} is still held for {len(left)} of {len(recipients)} recipients")
        return 1
    held.remove()
    print(f"{entry.id} was removed: all of its recipients have it")
    return 0


def _say(identifier, path, words):
    print(f"{identifier} {logs.escape(path)} {logs.escape(words)}", flush=True)


def _address(text):
    from mailfilter.net.release import path_of
    path = path_of(text)
    if path is None:
        raise UsageError(f"--to {text}: not an address")
    return path


def _by_next_hop(options):
    from mailfilter.net import release
    from mailfilter.net.tls import ClientTls
    found = re.fullmatch(r"(unix:.+)|\[([^\]]+)\]:([0-9]{1,5})|([^:\s]+):([0-9]{1,5})", options.next_hop)
    port = int(found[3] or found[5] or 0) if found else 0
    if not found or not found[1] and not 0 < port < 65536:
        raise UsageError(f"--next-hop {options.next_hop}: expected HOST:PORT, [IPv6]:PORT or unix:/path")
    try:
        tls = ClientTls(options.tls, ca=options.ca)
        timeouts = config.Timeouts().replaced(config.assignments(options.timeout, "--timeout"), "--timeout")
        hostname = hostname_of(options.hostname)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    route = release.Route(found[1] or found[2] or found[4], port, lmtp=options.lmtp, tls=tls, hostname=hostname,
                          timeouts=timeouts)

    def send(held, recipients, told):
        sender = held.entry.envelope["sender"]
        asyncio.run(release.deliver(
            route, (sender["path"], sender["parameters"]), recipients, held.size, held.chunks,
            lambda path, reply: told(path, reply.code, release.text_of(reply))))

    return send


def _by_maildir(options):
    from mailfilter.services.maildir import Maildir
    maildir = Maildir(options.maildir)

    def send(held, recipients, told):
        sender = held.entry.envelope["sender"]["path"].encode("utf-8", "surrogateescape")
        delivered = maildir.deliver(_with_return_path(sender, held.chunks()))
        for path, _parameters in recipients:
            told(path, 250, f"250 2.0.0 Delivered as {delivered.name}")

    return send


def _with_return_path(sender, chunks):
    yield b"Return-Path: " + sender + b"\r\n"
    yield from chunks


def _delete(options):
    store, status = _opened(options), 0
    for beginning in options.ids:
        try:
            with store.taken(store.find(beginning)) as held:
                told = f"{held.id} was deleted: from {_sender(held.entry.envelope)}, {held.entry.envelope.get('subject', '')}"
                held.remove()
                print(logs.escape(told))
        except MailfilterError as error:
            complain(f"not deleted: {error}")
            status = 1
    return status


def _purge(options):
    found = _AGE.fullmatch(options.older_than)
    if not found:
        raise UsageError(f"--older-than {options.older_than}: expected an age, 30d, 12h or 90m")
    before = time.time() - int(found[1]) * _AGE_UNITS[found[2]]
    store = _opened(options)
    gone = sorted(store.older(before) if options.dry_run else store.expire(before))
    for identifier in gone:
        print(f"{identifier} {'would be' if options.dry_run else 'was'} deleted")
    print(f"{len(gone)} messages older than {options.older_than}")
    return 0
