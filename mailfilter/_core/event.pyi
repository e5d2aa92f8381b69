from mailfilter._core.address import Path
from mailfilter._core.header import Field
from mailfilter._core.reply import Reply

EV_CONNECT: int
EV_HELO: int
EV_EHLO: int
EV_MAIL: int
EV_RCPT: int
EV_DATA: int
EV_RSET: int
EV_NOOP: int
EV_VRFY: int
EV_EXPN: int
EV_HELP: int
EV_QUIT: int
EV_BDAT: int
EV_AUTH: int
EV_STARTTLS: int
EV_XCLIENT: int
EV_XFORWARD: int
EV_UNKNOWN: int
EV_AUTH_LINE: int
EV_MESSAGE: int
EV_BODY: int
EV_DISCARDED: int
EV_REJECTED: int
EV_CLOSED: int
EVENT_NAMES: tuple[str, ...]

class Event:
    @property
    def kind(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def asks(self) -> bool: ...
    @property
    def text(self) -> bytes: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def chunk(self) -> bytes | None: ...
    @property
    def fields(self) -> list[Field] | None: ...
    @property
    def attributes(self) -> list[tuple[bytes, bytes | None]] | None: ...
    @property
    def separator(self) -> bool: ...
    @property
    def wire(self) -> bool: ...
    @property
    def binary(self) -> bool: ...
    @property
    def body_bytes(self) -> int: ...
    @property
    def message_bytes(self) -> int: ...
    @property
    def reply(self) -> Reply | None: ...
