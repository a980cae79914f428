"""A run's folder, told: as a page, in short, and one document's journey."""

from curate.report.lineage import write_pairs
from curate.report.page import write_report
from curate.report.terminal import journey, summary

__all__ = ["journey", "summary", "write_pairs", "write_report"]
