V1_SIGNATURE: bytes
V2_SIGNATURE: bytes

class ProxyHeader:
    version: int
    local: bool
    source: tuple[str, int] | None
    destination: tuple[str, int] | None
    authority: str | None
    tls: dict[str, str | bool | None] | None
    unique_id: bytes | None

class ProxyReader:
    too_long: bool
    error: str | None
    rest: bytes
    def __init__(self, most: int = 4096) -> None: ...
    @property
    def buffered(self) -> int: ...
    def feed(self, data: bytes) -> ProxyHeader | None: ...
