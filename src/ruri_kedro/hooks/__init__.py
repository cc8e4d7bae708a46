"""What happens around a run of Kedro: checks, tracking, progress."""
