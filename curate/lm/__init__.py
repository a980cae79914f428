"""n-gram language models: from text to sentences of words, estimated and scored."""
