"""Damage a face network on purpose, and measure what it can no longer do."""
