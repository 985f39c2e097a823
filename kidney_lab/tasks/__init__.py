"""Tasks: one file per command; each puts the other packages together."""
