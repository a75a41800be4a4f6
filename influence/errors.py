"""The two exceptions that somebody catches by name."""


class BadInput(ValueError):
    """Something a person gave cannot be used. The message says what was got, what was needed and what to do."""


class Cancelled(Exception):
    """Raised by a `Report` to stop the work that calls it."""
