from mailfilter._core.address import Path

ST_CONNECT: int
ST_REFUSED: int
ST_GREETED: int
ST_READY: int
ST_MAIL: int
ST_RCPT: int
ST_CHUNKS: int
ST_DATA: int
ST_AUTH: int
ST_TLS: int
ST_CLOSED: int
ST_COUNT: int
IN_GREETING: int
IN_REFUSAL: int
IN_CHUNK: int
IN_MESSAGE: int
IN_CHALLENGE: int
IN_AUTH_OVER: int
IN_TLS: int
IN_CLOSE: int
IN_COUNT: int
NH_GREETING: int
NH_READY: int
NH_MAIL: int
NH_RCPT: int
NH_DATA: int
NH_SENDING: int
NH_CHUNKS: int
NH_FINAL: int
NH_AUTH: int
NH_CHALLENGE: int
NH_STARTTLS: int
NH_TLS: int
NH_XCLIENT: int
NH_CLOSED: int
NH_COUNT: int
NI_GREETED: int
NI_HELLO: int
NI_MAIL: int
NI_RCPT: int
NI_DATA: int
NI_GO: int
NI_NO_GO: int
NI_CHUNK: int
NI_REFUSED: int
NI_END: int
NI_DONE: int
NI_AUTH: int
NI_CHALLENGE: int
NI_STARTTLS: int
NI_SECURE: int
NI_XCLIENT: int
NI_ANSWERED: int
NI_CLOSE: int
NI_COUNT: int
STATE_NAMES: tuple[str, ...]
INPUT_NAMES: tuple[str, ...]
SERVER_TABLE: dict[tuple[int, int], int]
CLIENT_STATE_NAMES: tuple[str, ...]
CLIENT_INPUT_NAMES: tuple[str, ...]
CLIENT_TABLE: dict[tuple[int, int], int]

class Transaction:
    @property
    def sender(self) -> Path: ...
    @property
    def recipients(self) -> list[Path]: ...
    @property
    def size(self) -> int | None: ...
    @property
    def eight_bit(self) -> bool: ...
    @property
    def binary(self) -> bool: ...
    @property
    def utf8(self) -> bool: ...
    @property
    def prdr(self) -> bool: ...
    @property
    def requiretls(self) -> bool: ...

class ServerMachine:
    @property
    def state(self) -> int: ...
    @property
    def transaction(self) -> Transaction | None: ...

class ClientMachine:
    @property
    def state(self) -> int: ...
