"""What a source is, and how it becomes passages and pairs."""
