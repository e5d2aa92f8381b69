from collections.abc import Callable
from typing import Any

TOO_MANY_PARTS: int
TOO_DEEP: int
HEADER_TOO_BIG: int
UNFINISHED: int

class MimeScanner:
    parts: list[tuple[Any, int, int, int, int, int]]
    problems: int
    def __init__(self, describe: Callable[[bytes, int], tuple[Any, int, bytes | None]], top: Any, top_kind: int,
                 top_boundary: bytes | None, most_parts: int = ..., most_depth: int = ...,
                 header_bytes: int = ..., headers_bytes: int = ...) -> None: ...
    def feed(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
