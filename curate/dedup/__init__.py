"""Exact and near-duplicate documents."""
