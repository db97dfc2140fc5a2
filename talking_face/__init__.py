"""Speech to motion. Comes with a later version."""
