"""Telling a full disk from other errors."""

import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that it followed from, means that a disk or a quota is full.

    Libraries that are not written in Python put the system's message into errors of their own.
    """
    messages = [os.strerror(number) for number in FULL]
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in FULL or any(message in str(cause) for message in messages):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
