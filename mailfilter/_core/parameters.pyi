from mailfilter._core.reply import Reply

MAIL_8BIT: int
MAIL_BINARY: int
MAIL_UTF8: int
MAIL_PRDR: int
MAIL_REQUIRETLS: int
FAULTS: dict[str, Reply]

def xtext_decoded(text: bytes) -> bytes | None: ...
