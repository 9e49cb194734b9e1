"""What a study's config may say, checked, and its reference."""
