"""The names and types of the columns that flow through a run."""

import pyarrow as pa

Batch = pa.RecordBatch

ID = "id"  # 16 bytes: hash of the input's identity, the member's offset, the record's index
ORIGIN = "origin_id"  # what the dump itself calls the record; may be missing or repeated
URL = "url"
DATE = "date"
SOURCE = "source"  # the input's name
OFFSET = "offset"  # of the member (WARC, WET), the line (JSONL) or the row (Parquet)
CONTENT_TYPE = "content_type"  # media type, lower case, without parameters
CHARSET = "charset"  # as declared by the envelope; "" if it was silent
PAYLOAD = "payload"  # the decoded body, before extraction
TEXT = "text"  # UTF-8, after extraction
LANGUAGE = "language"
LANGUAGE_SCORE = "language_score"

METADATA = "metadata"  # JSON of an input's other fields, where `read: {metadata: true}` asks for it

# A verdict. Null in DROPPED_BY means kept.
DROPPED_BY = "dropped_by"  # "gopher.word_count", "http.status", "warc.truncated", ...
VALUE = "value"  # the number that was measured, where there is one
BOUND = "bound"  # the bound that it broke
QUARANTINED = "quarantined"  # damaged input rather than a decision of the recipe

# What a survey takes out of the text of a document that may stay.
CUTS = "cuts"  # start, end, start, end, ...: places in the text's bytes, in order, disjoint
CUT_BY = "cut_by"  # "lines.repeated", ...; null where nothing is cut

VERDICT = pa.schema(
    [
        (DROPPED_BY, pa.string()),
        (VALUE, pa.float64()),
        (BOUND, pa.float64()),
        (QUARANTINED, pa.bool_()),
    ]
)

# What every reader yields. Rows that the reader refuses carry a verdict and an empty payload.
RAW = pa.schema(
    [
        (ID, pa.binary(16)),
        (ORIGIN, pa.string()),
        (URL, pa.string()),
        (DATE, pa.string()),
        (SOURCE, pa.string()),
        (OFFSET, pa.int64()),
        (CONTENT_TYPE, pa.string()),
        (CHARSET, pa.string()),
        (PAYLOAD, pa.binary()),
        *VERDICT,
    ]
)
