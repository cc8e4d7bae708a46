"""Where the shards of tables are made: in this process, or by Ray Data."""
