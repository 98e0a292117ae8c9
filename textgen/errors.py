"""Errors whose message is meant for the user."""


class UserError(ValueError):
    """An error that the user can correct.

    The message is one or two sentences: what was received, what would be valid, what to do. Jobs print it without a
    traceback and exit with code 2.
    """

    def __reduce__(self) -> tuple[type["UserError"], tuple[str]]:
        return (type(self), (str(self),))


class UnavailableError(UserError):
    """Storage does not respond, denies access or is full, so its content is unknown.

    The error may affect only one worker, and a retry may succeed.
    """


class MissingError(UserError):
    """A file does not exist."""
