"""What can go wrong for the user: where, what was found, and what to write instead.

CurateError
    RecipeError      a recipe that cannot run
    KernelError      a filter that cannot be compiled
    InputError       no input, or an input that cannot be read at all
    ShardError       a file of ours that is missing, damaged or of another format
    ModelError       a model that is missing or not the pinned one
    BusyError        another run owns the output folder
    DiskError        the disk is full
    LawError         a ledger that does not balance; always a bug
    RayError         Ray does not start, or would listen where it should not
"""


class CurateError(Exception):
    """An error told in the user's terms; the command line prints it without a traceback."""

    exit_code = 2


class RecipeError(CurateError):
    """A recipe that cannot run."""


class KernelError(CurateError):
    """A filter that cannot be compiled."""


class InputError(CurateError):
    """No input, or an input that cannot be read at all."""


class ShardError(CurateError):
    """A file of ours that is missing, damaged or of another format."""


class ModelError(CurateError):
    """A model that is missing or not the pinned one."""


class DiskError(CurateError):
    """The disk is full or refuses to be written."""

    exit_code = 4


class BusyError(CurateError):
    """Another run owns the output folder."""

    exit_code = 5


class LawError(CurateError):
    """A ledger that does not balance: a bug, never the input's fault."""

    exit_code = 6


class RayError(CurateError):
    """Ray does not start, or would listen where it should not."""

    exit_code = 7
