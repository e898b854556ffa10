"""`thresher predict`: classes for new data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thresher.cli.options import AsJson, FinishedRun
from thresher.cli.output import print_bytes, print_json, say

__all__ = ["predict"]


def predict(
    run: FinishedRun,
    data: Annotated[str, typer.Argument(help="New data; no labels needed.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Write .csv or .parquet instead of printing CSV.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict the class of every row with the model of a run."""
    from thresher.errors import ParameterError

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ParameterError(
            f'--out must end in .csv or .parquet, got "{out.name}".', "Example: --out classes.csv"
        )
    import pyarrow.csv
    import pyarrow.parquet

    from thresher.trained_model import predict as run_model
    from thresher.whole_file import whole_file

    predictions = run_model(run, data, device=device)
    for sentence in predictions.notes:
        say(f"note: {sentence}")
    table = predictions.to_table()
    if out is not None:
        write = pyarrow.parquet.write_table if out.suffix == ".parquet" else pyarrow.csv.write_csv
        with whole_file(out) as aside:
            write(table, aside)
        say(f"{table.num_rows:,} predictions in {out}")
    elif as_json:
        print_json({"schema": 1, "predictions": table.to_pylist()})
    else:
        written = pyarrow.BufferOutputStream()
        pyarrow.csv.write_csv(table, written)
        print_bytes(memoryview(written.getvalue()))
