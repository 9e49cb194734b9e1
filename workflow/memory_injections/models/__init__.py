"""Models: where they come from, their folders, loading them, their processed weights, tokens and scores."""
