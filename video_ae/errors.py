"""How a run ends before its time: at the user's wish, or by an error that is told in a line."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """A run stopped at the user's wish, everything saved."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def describe(error: Exception) -> str:
    """An error in a line; of what the system refused, which file and why."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
