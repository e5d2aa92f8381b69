"""Messages that tests send."""
