"""Signals and text edits, one file per paper or family."""
