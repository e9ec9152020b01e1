"""The multi-tier cache."""
