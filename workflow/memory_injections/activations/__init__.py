"""What a model computes at the last position of every text, kept in one file, and its heads read from there."""
