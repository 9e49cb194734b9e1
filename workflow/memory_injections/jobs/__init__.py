"""What a job of the workflow needs besides its work: a log, devices, checks of the inputs, the digest of its code."""
