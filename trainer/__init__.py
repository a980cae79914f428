"""A small Llama-style trainer on token shards; needs the extra `train`."""
