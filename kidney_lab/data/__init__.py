"""Data: cases found, checked, prepared into a store, and read as training samples."""
