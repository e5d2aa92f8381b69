"""Operations about the program itself: log, settings, output, names, dates; and the address parser.

All of them are answered at once, but for the one about passwords. Must not know: next hops, messages.
"""
import os
import pwd
import random
import sys
import time

from mailfilter._core.address import PathError, parse_path
from mailfilter._core.heap import UNDEFINED
from mailfilter.mail.octets import octets
from mailfilter.services import passwords

__all__ = ["clock", "extensions", "hostname", "log_open", "log_write", "monotonic", "parse", "print_text", "random_number",
           "setting", "tls", "user", "verify_password"]


def log_write(context, severity, text):
    """A line of the policy in the log."""
    if context.log is not None:
        context.log.write(int(severity), context.session_id, text)
    return UNDEFINED


def log_open(context, ident, facility):
    """Send the program's log to syslog from now on."""
    if context.log is not None:
        context.log.openlog(ident, int(facility))
    return UNDEFINED


def print_text(context, text):
    """Text to standard output, at once and whole, so that the processes of a server do not mix or repeat it."""
    sys.stdout.flush()
    data = octets(text)
    while data:
        data = data[os.write(1, data):]
    return UNDEFINED


def setting(context, name):
    """The text of a setting, or null."""
    return context.settings.get(name)


def user(context):
    """The name of the user the program runs as, or null when it has none. While a policy is loaded that may still be root;
    then it is the user that the program is about to become."""
    if context.user is not None:
        return context.user
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return None


def hostname(context):
    """Our own name."""
    return context.hostname


def clock(context):
    """The time of day in milliseconds since 1970, as Date has it."""
    context.varying = "Date"
    return float(time.time_ns() // 1_000_000)


def monotonic(context):
    """Milliseconds of a clock that is never set, for measuring."""
    context.varying = "performance.now"
    return time.monotonic_ns() / 1e6


def random_number(context):
    """A number from 0 up to but not including 1."""
    context.varying = "Math.random"
    return random.random()


def extensions(context):
    """The service extensions that this session can offer."""
    return context.extensions


def tls(context):
    """What is known of the TLS that the client speaks now, or null."""
    return context.tls


def parse(context, text):
    """An SmtpPath's parts and the rest of the text; null when there is no path."""
    try:
        path, rest = parse_path(octets(text), allow_null=True, utf8=True)
    except PathError:
        return None
    return [*path.parts(), rest]


def verify_password(context, waiting, password, hashed):
    """Whether a password is the one that was hashed (crypt(3))."""
    return waiting.run_in_thread(passwords.verify, octets(password), octets(hashed))
