"""Crawl dumps to batches: WARC, WET, JSONL and Parquet; pages to text."""
