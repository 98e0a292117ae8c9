"""The errors that a user is meant to read."""


class UserError(ValueError):
    """A mistake that its user can mend.

    The message is one sentence or two: what was received, what would be right, what to do.
    Jobs print it without a traceback and end with exit code 2.
    """

    def __reduce__(self) -> tuple[type["UserError"], tuple[str]]:
        return (type(self), (str(self),))


class UnavailableError(UserError):
    """Storage that does not answer, lets nobody in or is full: nothing is known of what lies there.

    It may meet one worker alone, and another try may succeed.
    """


class MissingError(UserError):
    """There is no such file."""
