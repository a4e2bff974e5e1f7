"""Posterior draws as an Arrow file (Feather V2), which R, Julia and pandas read."""

from __future__ import annotations

from mmcoord.errors import MissingPart
from mmcoord.posteriors.draws import columns
from mmcoord.store.views_runs import RunContent

__all__ = ["MEDIA_TYPE", "samples_arrow"]

MEDIA_TYPE = "application/vnd.apache.arrow.file"


def samples_arrow(run: RunContent) -> bytes:
    """One column per parameter, its unit in the field's metadata, the run in the table's.

    Raises
    ------
    MissingPart
        pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingPart("Arrow files need pyarrow (extra: parquet)") from None
    draws = columns(run.samples)
    fields = [
        pa.field(name, pa.float64(), nullable=False, metadata={"unit": run.unit(name)})
        for name in draws
    ]
    about = {"run_key": run.run_key, "model": run.model}
    table = pa.table(list(draws.values()), schema=pa.schema(fields, metadata=about))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
