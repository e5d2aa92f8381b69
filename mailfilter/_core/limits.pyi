class Limits:
    line_bytes: int
    auth_line_bytes: int
    recipients: int
    message_bytes: int
    header_bytes: int
    header_fields: int
    errors: int
    pending_bytes: int
    def __init__(
        self, *, line_bytes: int = 2048, auth_line_bytes: int = 12288, recipients: int = 1000,
        message_bytes: int = 52428800, header_bytes: int = 262144, header_fields: int = 1000, errors: int = 20,
        pending_bytes: int = 65536,
    ) -> None: ...
