"""Fetching files whole and as pinned: from addresses, the Python Package Index, the Hugging Face hub and git."""
