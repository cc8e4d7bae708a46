"""Rules, gates and decisions about champions."""
