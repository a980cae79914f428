"""Byte-level BPE: training, encoding, and token shards."""
