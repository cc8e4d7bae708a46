"""Models side by side: significance, tables and pages."""
