"""The exceptions of Mailfilter: what can go wrong, sorted by who has to act on it.

Everything raised on purpose descends from `MailfilterError`, so that the command line can show any of
them as one clear line without a traceback. A peer that breaks SMTP raises none of these: that is data (an
event or a reply), because it happens all day and is nobody's fault here.

This module imports nothing, knows no sockets and no JavaScript.
"""

__all__ = [
    "ConfigError",
    "MailfilterError",
    "PolicyError",
    "ServiceError",
    "ServiceProtocolError",
    "ServiceTimeout",
    "ServiceUnavailable",
    "TemporaryFailure",
]


class MailfilterError(Exception):
    """Base of every error that Mailfilter raises on purpose."""


class ConfigError(MailfilterError):
    """A command-line option, setting, address or user that cannot be used; the text says why."""


class PolicyError(MailfilterError):
    """A policy that cannot be loaded, or that failed while it ran.

    Attributes:
        message: what went wrong, in the words of the JavaScript engine where it spoke.
        file: the policy's file name as the user gave it, or None when no place is known.
        line: line number counted from 1, or None.
        column: column number counted from 1, or None.
        source_line: the text of that line without its line end, or None.
    """

    def __init__(self, message, file=None, line=None, column=None, source_line=None):
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.source_line = source_line

    @property
    def place(self):
        """`file:line:column`, as far as it is known; an empty string when it is not."""
        if self.file is None:
            return ""
        known = [str(self.file)]
        if self.line is not None:
            known.append(str(self.line))
            if self.column is not None:
                known.append(str(self.column))
        return ":".join(known)

    def __str__(self):
        place = self.place
        return f"{place}: {self.message}" if place else str(self.message)

    def excerpt(self):
        """The source line with a caret under the column, as two lines of text; "" without a source line."""
        if self.source_line is None:
            return ""
        line = self.source_line.rstrip("\r\n")
        if self.column is None or not 1 <= self.column <= len(line) + 1:
            return f"    {line}"
        # Tabs stay tabs in the padding, so that the caret stands right at any tab width.
        padding = "".join("\t" if c == "\t" else " " for c in line[:self.column - 1])
        return f"    {line}\n    {padding}^"


class ServiceError(MailfilterError):
    """Something outside (resolver, scanner, next hop, disk) did not do what it was asked.

    Raised as one of its subclasses; JavaScript sees the same names.
    """


class ServiceTimeout(ServiceError):
    """No answer before the deadline."""


class ServiceUnavailable(ServiceError):
    """It cannot be reached, or closed the connection, or refuses to work just now."""


class ServiceProtocolError(ServiceError):
    """It answered something that its protocol does not allow."""


class TemporaryFailure(PolicyError):
    """A service that the policy does not want to do without is away: the handler ends, the client is to come again.

    No mistake of the policy's, and nothing that it can catch.
    """
