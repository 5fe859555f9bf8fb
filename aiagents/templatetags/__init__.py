"""Template tags of the pages that no app owns."""
