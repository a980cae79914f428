"""From crawl dumps to training data: the engine."""

__version__ = "0.1.0"
