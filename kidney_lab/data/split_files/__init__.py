"""The splits that are fixed by file, and how split files are made and read."""
