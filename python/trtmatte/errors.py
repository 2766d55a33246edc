"""The errors of trtmatte, by kind.

Every error of trtmatte is a `TrtmatteError` and also the builtin that fits, so that either can be caught.
"""


class TrtmatteError(Exception):
    """The base of all errors that trtmatte raises."""

    def __str__(self) -> str:
        return printable(super().__str__())


class FrameError(TrtmatteError, ValueError):
    """A frame, or another array of a call, is not what was expected."""


class SettingError(TrtmatteError, ValueError):
    """An option has a value that it cannot have."""


class ModelError(TrtmatteError, ValueError):
    """A model file cannot be read, is not recognised, or is not what it claims to be."""


class EngineError(TrtmatteError, RuntimeError):
    """An engine file cannot be read or written."""


class BackendError(TrtmatteError, RuntimeError):
    """A backend or op is unavailable on this machine."""


class DownloadError(TrtmatteError, OSError):
    """A model cannot be downloaded, or the download is not the expected file."""


class InputError(TrtmatteError, ValueError):
    """A video or a picture cannot be read, or is not what was expected."""


class TruncatedError(TrtmatteError, OSError):
    """A video ends early or is damaged; the frames before that were processed."""


class OutputError(TrtmatteError, OSError):
    """A video or a picture cannot be written."""


class FullError(TrtmatteError, RuntimeError):
    """There is no room for more at the moment: for another live stream, or for another picture that waits."""


def printable(text: str) -> str:
    """Text from files and libraries as it may be shown: control characters, which could drive a terminal, are escapes.

    The ends of lines stay.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
