"""Cards, exports and releases."""
