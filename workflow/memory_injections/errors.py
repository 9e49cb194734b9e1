"""The one exception that is the user's to mend."""


class StudyError(Exception):
    """Bad input: the message is one sentence that names the file or key and the remedy."""
