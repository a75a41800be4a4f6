"""The two exceptions that somebody catches by name."""


class BadInput(ValueError):
    """Something a person gave cannot be used. The message says what was got, what was needed and what to do.

    `missing`: a setting of the question that was not given, as KEY=WHAT; commands then say by which option it is.
    """

    def __init__(self, message: str, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


class Cancelled(Exception):
    """Raised by a `Report` to stop the work that calls it."""
