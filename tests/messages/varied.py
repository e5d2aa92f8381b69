"""Messages of many shapes, one for each number, that real mail servers pass on as they are.

Each has the fields that servers would add, and nothing that one of Postfix, Exim and OpenSMTPD changes by itself (Postfix
makes `Name :` into `Name:` and adds a missing blank line; OpenSMTPD adds Date and Message-ID). What is harder to carry
unharmed is in `awkward`.
"""
import random


def varied(number, *, nul=True, kind=b"varied"):
    """Message `number`, un-stuffed, ending in CR LF: sizes from nothing to 300 KiB, 8-bit, long lines, dots, folds.

    nul: whether there may be NUL octets in the body. kind: a word that makes messages of several runs different.
    """
    rng = random.Random(number)
    fields = [b"X-Number: %d" % number, b"X-Kind: " + kind, b"From: Sender <sender@client.test>",
              b"To: user@example.test", b"Date: Sun, 22 Nov 2026 10:00:00 +0000",
              b"Message-ID: <%d.%s@client.test>" % (number, kind),
              b"Subject: " + rng.choice([
                  b"plain", b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", b"raw \x93\xfa\x96{\x8c\xea", b"",
                  b"folded\r\n\there\r\n  and here", b"  leading and trailing  "])]
    fields += [b"X-Field-%d:%s%s" % (i, rng.choice([b"", b" ", b"\t "]), b"v" * rng.randrange(200))
               for i in range(rng.randrange(10))]
    if number % 50 == 0:
        fields.append(b"X-Big: " + b"\r\n ".join(b"w" * 70 for _ in range(100)))
    lines = [rng.choice([
        b"", b".", b"..", b".dot", b"From here", b"plain text " * rng.randrange(1, 8), b"\x80\x81\xff gr\xfc\xdfe",
        b"trailing \t ", b"tab\there", b"x" * rng.randrange(900, 1100), b"\0nul\0" if nul else b"no nul",
        b"y" * (2500 if number % 10 == 0 else 5),
    ]) for _ in range(rng.randrange(40))]
    if number % 100 == 7:
        lines += [b"z" * 76] * 4000
    if number % 9 == 0:
        lines = []
    return b"\r\n".join([*fields, b"", *lines]) + b"\r\n"


def number_of(content):
    """The number of a message made by `varied`, as it arrived without trace fields."""
    return int(content.split(b"\r\n")[0].removeprefix(b"X-Number: "))
