"""Prompt pairs and word lists: where they come from, and the one form that they are brought into."""
