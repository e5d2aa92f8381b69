from collections.abc import Iterable
from typing import Literal

from mailfilter._core.event import EV_BODY as EV_BODY
from mailfilter._core.event import EV_CLOSED as EV_CLOSED
from mailfilter._core.event import EV_CONNECT as EV_CONNECT
from mailfilter._core.event import EV_DATA as EV_DATA
from mailfilter._core.event import EV_DISCARDED as EV_DISCARDED
from mailfilter._core.event import EV_EHLO as EV_EHLO
from mailfilter._core.event import EV_EXPN as EV_EXPN
from mailfilter._core.event import EV_HELO as EV_HELO
from mailfilter._core.event import EV_HELP as EV_HELP
from mailfilter._core.event import EV_MAIL as EV_MAIL
from mailfilter._core.event import EV_MESSAGE as EV_MESSAGE
from mailfilter._core.event import EV_NOOP as EV_NOOP
from mailfilter._core.event import EV_QUIT as EV_QUIT
from mailfilter._core.event import EV_RCPT as EV_RCPT
from mailfilter._core.event import EV_REJECTED as EV_REJECTED
from mailfilter._core.event import EV_RSET as EV_RSET
from mailfilter._core.event import EV_UNKNOWN as EV_UNKNOWN
from mailfilter._core.event import EV_VRFY as EV_VRFY
from mailfilter._core.event import EVENT_NAMES as EVENT_NAMES
from mailfilter._core.event import Event as Event
from mailfilter._core.fsm import Transaction
from mailfilter._core.reply import Reply

REPLIES: dict[str, Reply]

class Limits:
    line_bytes: int
    recipients: int
    message_bytes: int
    header_bytes: int
    header_fields: int
    errors: int
    pending_bytes: int
    def __init__(
        self, *, line_bytes: int = 2048, recipients: int = 1000, message_bytes: int = 52428800,
        header_bytes: int = 262144, header_fields: int = 1000, errors: int = 20, pending_bytes: int = 65536,
    ) -> None: ...

class Session:
    def __init__(
        self, limits: Limits | None = None, line_ends: Literal["reject", "normalise"] = "reject",
        hostname: bytes = b"localhost",
    ) -> None: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def hostname(self) -> bytes: ...
    @property
    def hello(self) -> bytes | None: ...
    @property
    def proto(self) -> bytes: ...
    @property
    def announced(self) -> set[bytes]: ...
    @property
    def size_limit(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def state_name(self) -> str: ...
    @property
    def transaction(self) -> Transaction | None: ...
    @property
    def awaiting(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def buffered(self) -> int: ...
    @property
    def full(self) -> bool: ...
    def feed(self, data: bytes) -> None: ...
    def eof(self) -> None: ...
    def take_output(self) -> bytes: ...
    def next_event(self) -> Event | None: ...
    def reply(self, code: int, lines: Iterable[bytes], close: bool = False) -> None: ...
    def reply_default(self) -> None: ...
    def abort_message(self, code: int, lines: Iterable[bytes]) -> None: ...
    def refuse(self, code: int, lines: Iterable[bytes]) -> None: ...
