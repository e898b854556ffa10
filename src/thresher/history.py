"""SampleHistory: what the network did with every sample, kept while it trains.

One row a sample, one tensor a column, keyed by the stable sample index. Columns are declared before
the first batch; `observe` takes the logits of the training-mode forward pass, and only those: no
extra pass over the data is ever made.

    observe → (predictions at once, for methods that read them in the next step)
            → pending block → digest a block at a time → sums, counts, mean probabilities

Digesting a few thousand rows at a time costs a fraction of doing it batch by batch: on a small
network the recording is a few copies a step (`benchmarks/training.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thresher.batch_rows import argmax, check_batch, largest, occurrence, turns
from thresher.boundary_distance import signed_deviation
from thresher.errors import ParameterError, RecordError
from thresher.held_out_average import HeldOutAverage

__all__ = [
    "AUDIT",
    "BOUNDARY_DISTANCE",
    "LAST_LOSS",
    "TRACE",
    "Column",
    "SampleHistory",
]

TOP = 8  # classes a sample keeps in the compact form of its mean probability
DENSE_BYTES = 128 * 2**20  # above this, the (N, k) sums give way to the compact form
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Column:
    """One thing to remember of every sample.

    Args:
        name: Key in the history. Names listed in `SampleHistory.observe` are filled by it, others
            belong to the method that declares them.
        dtype: A torch dtype, or "class": the smallest integer type that holds every class and -1.
        width: None for one value a sample, a number for so many, "classes" for one a class.
        fill: The value before the first visit.
    """

    name: str
    dtype: torch.dtype | Literal["class"] = torch.float32
    width: int | Literal["classes"] | None = None
    fill: float = 0


#: Cross-entropy against the given label at the last visit; NaN before the first.
LAST_LOSS = Column("last_loss", fill=math.nan)

#: Signed distance of the last prediction from the uniform one; NaN before the first visit.
BOUNDARY_DISTANCE = Column("boundary_distance", fill=math.nan)

#: The probability of the given label in every epoch, in steps of 1/255; one byte an epoch.
TRACE = "given_trace"

#: Columns written a block at a time; reading one digests what is pending first.
DIGESTED = frozenset(
    {
        "given",
        "visits",
        "last_prediction",
        "last_loss",
        "boundary_distance",
        "correct",
        "forgetting",
        "loss_sum",
        "margin_sum",
        "given_sum",
        "given_square_sum",
        "window_visits",
        "probability_sum",
        "top_classes",
        "top_sums",
        "given_window_sum",
        TRACE,
    }
)

#: Columns that are written when one of them is read, or with the next block.
PUSHED = frozenset({"predictions", "pushes", "run_label", "run_length"})

#: What `running_state` holds of the rows that are not digested yet: index, logits, labels.
PENDING = ("pending_index", "pending_logits", "pending_labels")

OBSERVED = (DIGESTED - {"given"}) | {"predictions", "run_label"}

#: What the label audit reads: 38 bytes a sample, and the mean probabilities.
AUDIT = (
    Column("visits", torch.int32),
    Column("correct", torch.int32),
    Column("forgetting", torch.int32),
    Column("last_prediction", "class", fill=-1),
    Column("loss_sum"),
    Column("margin_sum"),
    Column("given_sum"),
    Column("given_square_sum"),
    Column("window_visits", torch.int32),
    Column("probability_sum", width="classes"),
)


class SampleHistory:
    """The memory of one training: a row for every sample, keyed by its stable index.

    Columns that `observe` fills when they are declared:

    ==================== =================================================================
    visits               training-mode forward passes of the sample
    last_prediction      most probable class at the last visit; -1 before the first
    last_loss            cross-entropy against the given label at the last visit
    boundary_distance    deviation of the probabilities at the last visit (boundary_distance.py)
    correct, forgetting  visits that predicted the given label; right → wrong transitions
    loss_sum             cross-entropy against the given label, summed over visits
    margin_sum           logit of the given label minus the best other one (AUM, Pleiss 2020)
    given_sum, …square…  probability of the given label and its square (data maps, Swayamdipta 2020)
    probability_sum      probabilities summed over the window of epochs (`window_visits` of them);
                         where N·k is large, the eight largest: `top_classes`, `top_sums`, and
                         `given_window_sum` exactly
    given_trace          probability of the given label in each epoch, (N, epochs) uint8
    predictions, pushes  ring of the last predictions, and how many were ever pushed; as long as
                         the longest of those declared, so readers say how many they want
    run_label, …length   the last prediction and for how many visits it has been the same
    ==================== =================================================================

    Args:
        samples: Number of samples N, > 0; indices are 0 … N - 1.
        classes: Number of classes k, >= 2.
        device: Where the columns live.
        window_start: Epoch (from 0) from which probabilities are averaged.
        repeats: A sample may stand more than once in one batch; each is a visit.

    Raises:
        ParameterError: samples or classes out of range.
    """

    def __init__(
        self,
        samples: int,
        classes: int,
        *,
        device: torch.device | str = "cpu",
        window_start: int = 0,
        repeats: bool = False,
    ) -> None:
        if samples < 1:
            raise ParameterError(
                f"samples must be at least 1, got {samples}.", "Pass the number of training rows."
            )
        if classes < 2:
            raise ParameterError(
                f"classes must be at least 2, got {classes}.", "Pass the number of classes."
            )
        self.samples, self.classes = samples, classes
        self.device = torch.device(device)
        self.window_start = window_start
        self.repeats = repeats
        self.epoch = 0
        self._columns: dict[str, Tensor] = {}
        self._held_out: HeldOutAverage | None = None
        self._started = False
        self._remembers = False  # whether any column is filled by `observe`
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._pending_rows = 0
        self._unpushed: list[tuple[Tensor, Tensor]] = []  # index and logits
        self._block_rows = max(1, min(BLOCK_ROWS, 2**22 // classes))
        self.declare(Column("given", "class", fill=-1), Column("eligible", torch.bool, fill=1))

    # ------------------------------------------------------------------ columns
    def declare(self, *columns: Column) -> None:
        """Add columns; a name that is there already must have the same shape and dtype.

        The ring of predictions alone may be declared with several widths: the widest serves all.

        Raises:
            RecordError: the first batch has been observed already, or two declarations differ.
        """
        for column in columns:
            for each in self._compact(column):
                self._allocate(each)

    def _compact(self, column: Column) -> tuple[Column, ...]:
        if column.name != "probability_sum" or self.samples * self.classes * 4 <= DENSE_BYTES:
            return (column,)
        width = min(TOP, self.classes)
        return (
            Column("top_classes", "class", width=width, fill=-1),
            Column("top_sums", width=width),
            Column("given_window_sum"),
        )

    def _allocate(self, column: Column) -> None:
        dtype = self._class_dtype() if column.dtype == "class" else column.dtype
        width = self.classes if column.width == "classes" else column.width
        shape = (self.samples,) if width is None else (self.samples, width)
        there = self._columns.get(column.name)
        if there is not None and column.name == "predictions" and not self._started:
            if width is None or there.shape[1] >= width:
                return
            there = None
        if there is not None:
            if there.shape != shape or there.dtype != dtype:
                raise RecordError(
                    f'Column "{column.name}" is declared twice, as {tuple(there.shape)} '
                    f"{there.dtype} and as {shape} {dtype}.",
                    "Give one of them another name.",
                )
            return
        if self._started:
            raise RecordError(
                f'Column "{column.name}" is declared after the first batch was observed.',
                "Declare it before training starts: what was not recorded cannot be asked for.",
            )
        values = _zeros(shape, dtype, self.device)
        self._columns[column.name] = values.fill_(column.fill) if column.fill else values
        self._remembers |= column.name in OBSERVED

    def _class_dtype(self) -> torch.dtype:
        return torch.int16 if self.classes <= 2**15 else torch.int32

    def __contains__(self, name: object) -> bool:
        """Whether the column is declared."""
        return name in self._columns

    def __getitem__(self, name: str) -> Tensor:
        """The column, with everything observed so far.

        Raises:
            RecordError: the column was not declared.
        """
        if name not in self._columns:
            raise RecordError(
                f'The history has no column "{name}"; it records '
                f"{', '.join(sorted(self._columns))}.",
                "Declare the column before the first batch.",
            )
        if name in DIGESTED:
            self.flush()
        elif name in PUSHED:
            self._push_predictions()
        return self._columns[name]

    # ------------------------------------------------------------------ held-out rows
    def hold_out(self, rows: Tensor) -> None:
        """Keep rows from training, and what is predicted of them while they are.

        Args:
            rows: (N,) bool.

        Raises:
            RecordError: the first batch has been observed already.
        """
        if self._started:
            raise RecordError(
                "Rows are held out after the first batch was observed.",
                "Choose them before training starts.",
            )
        rows = rows.to(self.device)
        self._columns["eligible"].copy_(~rows)
        self._held_out = HeldOutAverage(rows, self.classes)

    def release(self) -> None:
        """Let the held-out rows be trained from now on; what was kept of them stays as it is."""
        self.flush()
        self._columns["eligible"].fill_(True)

    # ------------------------------------------------------------------ observing
    def observe(self, index: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Remember one batch of the training-mode forward pass. O(batch), detached, float32.

        Args:
            index: (B,) int64 stable sample indices.
            logits: (B, k) float, before the update of this step.
            labels: (B,) int64 given labels in 0 … k - 1.
        """
        self._started = True
        columns = self._columns
        if not self._remembers:
            return
        logits = logits.detach().float()
        if "predictions" in columns or "run_label" in columns:
            self._unpushed.append((index, logits))
        self._pending.append((index, logits, labels))
        self._pending_rows += len(index)
        if self._pending_rows >= self._block_rows:
            self.flush()

    def flush(self) -> None:
        """Digest what is pending; reading a column does so by itself."""
        self._push_predictions()
        if not self._pending:
            return
        index, logits, labels = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._pending_rows = [], 0
        for rows in turns(index):
            self._digest(index[rows], logits[rows], labels[rows])

    def _push_predictions(self) -> None:
        """Write the predictions that wait; a method that reads them in every step waits for one."""
        if not self._unpushed:
            return
        waiting, self._unpushed = self._unpushed, []
        one = len(waiting) == 1
        index, logits = waiting[0] if one else map(torch.cat, zip(*waiting, strict=True))
        prediction = argmax(logits)
        once = one and not self.repeats
        if "predictions" in self._columns:
            self._push(index, prediction, None if once else occurrence(index))
        if "run_label" in self._columns:
            for rows in (slice(None),) if once else turns(index):
                self._run_on(index[rows], prediction[rows])

    def _push(self, index: Tensor, prediction: Tensor, earlier: Tensor | None) -> None:
        """Write into the ring; `earlier` says how often a row stands before each entry."""
        ring, pushes = self._columns["predictions"], self._columns["pushes"]
        width = ring.shape[1]
        if earlier is not None and len(earlier) and int(earlier.max()) >= width:
            for turn in range(0, int(earlier.max()) + 1, width):  # once round the ring at a time
                rows = (earlier >= turn) & (earlier < turn + width)
                self._push(index[rows], prediction[rows], earlier[rows] - turn)
            return
        pushed = pushes[index] if earlier is None else pushes[index] + earlier
        ring[index, (pushed % width).long()] = prediction.to(ring.dtype)
        pushes.index_add_(0, index, torch.ones_like(index, dtype=pushes.dtype))

    def _run_on(self, index: Tensor, prediction: Tensor) -> None:
        """Count how long each of these samples, none twice, has been predicted alike."""
        label, length = self._columns["run_label"], self._columns["run_length"]
        prediction = prediction.to(label.dtype)
        same = label[index] == prediction
        length[index] = torch.where(same, (length[index] + 1).clamp(max=2**15 - 1), 1)
        label[index] = prediction

    def _digest(self, index: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one visit of each of these samples (no index twice) to every declared column."""
        columns = self._columns
        columns["given"][index] = labels.to(columns["given"].dtype)
        log_probability = torch.log_softmax(logits, 1)  # (R, k)
        log_given = log_probability.gather(1, labels[:, None]).squeeze(1)  # (R,)
        probability = log_probability.exp()
        given = log_given.exp()
        prediction = argmax(logits)
        hit = prediction == labels

        def add(name: str, values: Tensor) -> None:
            if name in columns:
                columns[name].index_add_(0, index, values.to(columns[name].dtype))

        if "forgetting" in columns:
            before = columns["last_prediction"][index]
            add("forgetting", (before == labels) & ~hit)
        if "last_prediction" in columns:
            columns["last_prediction"][index] = prediction.to(columns["last_prediction"].dtype)
        add("visits", torch.ones_like(index))
        add("correct", hit)
        add("loss_sum", -log_given)
        if "last_loss" in columns:
            columns["last_loss"][index] = -log_given
        if "boundary_distance" in columns:
            columns["boundary_distance"][index] = signed_deviation(probability, labels)
        add("given_sum", given)
        add("given_square_sum", given.square())
        if "margin_sum" in columns:
            rival = logits.scatter(1, labels[:, None], -math.inf).amax(1)
            add("margin_sum", logits.gather(1, labels[:, None]).squeeze(1) - rival)
        if TRACE in columns and self.epoch < columns[TRACE].shape[1]:
            columns[TRACE][index, self.epoch] = (255 * given + 0.5).to(torch.uint8)
        if self._held_out is not None:
            rows = ~columns["eligible"][index]
            self._held_out.observe(index[rows], probability[rows])
        if self.epoch >= self.window_start:
            add("window_visits", torch.ones_like(index))
            add("probability_sum", probability)
            if "top_sums" in columns:
                add("given_window_sum", given)
                self._add_top(index, probability)

    def _add_top(self, index: Tensor, probability: Tensor) -> None:
        """Keep the classes with the largest running sums, exact while they stay among them."""
        classes, sums = self._columns["top_classes"], self._columns["top_sums"]
        width = classes.shape[1]
        kept = classes[index].long()  # (R, m), -1 = free
        free = kept < 0
        kept_sum = sums[index] + probability.gather(1, kept.clamp(min=0)).masked_fill(free, 0)
        fresh = largest(probability, width)  # (R, m)
        fresh_sum = probability.gather(1, fresh)
        known = (fresh[:, :, None] == kept[:, None, :]).any(2)
        candidates = torch.cat([kept, fresh], 1)
        values = torch.cat([kept_sum.masked_fill(free, -1), fresh_sum.masked_fill(known, -1)], 1)
        place = largest(values, width)
        classes[index] = candidates.gather(1, place).to(classes.dtype)
        sums[index] = values.gather(1, place)

    # ------------------------------------------------------------------ reading
    def mean_loss(self) -> Tensor:
        """Mean cross-entropy against the given label over all visits, (N,) float32; NaN unvisited.

        The accumulated loss separates wrong labels longer than the last one (Pleiss et al. 2020).
        """
        return self["loss_sum"] / self["visits"]

    def accuracy(self, rows: Tensor) -> float:
        """Share of these visited samples whose last prediction is the given label; NaN for none.

        Args:
            rows: (N,) bool.
        """
        prediction = self["last_prediction"]
        seen = rows & (prediction >= 0)
        total = int(seen.sum())
        return (
            float((seen & (prediction == self._columns["given"])).sum()) / total
            if total
            else math.nan
        )

    def forget(self, *names: str, fill: float = 0) -> None:
        """Set columns back to a fill value (a restart of the network clears its predictions)."""
        for name in names:
            self[name].fill_(fill)

    def check_labels(self, index: Tensor, labels: Tensor) -> None:
        """Refuse what cannot be the indices and the labels of a batch.

        Args:
            index: (B,) int64 in 0 … N - 1.
            labels: (B,) int64 in 0 … k - 1.

        Raises:
            LabelError: labels of another kind, or one outside the classes; names the first such
                sample.
            RecordError: an index of another kind or length, or outside 0 … N - 1.
        """
        check_batch(index, labels, samples=self.samples, classes=self.classes)

    # ------------------------------------------------------------------ state
    def state_dict(self) -> dict[str, Tensor]:
        """Every column by name, and what is kept of held-out rows. Tensors are shared."""
        self.flush()
        return {**self._columns, **self._apart()}

    def running_state(self) -> dict[str, Tensor]:
        """As `state_dict`, with the rows of the block that is not full yet beside the columns.

        Nothing is digested by asking: where a block is cut may show in the last bit of its
        logarithms, and a training must not differ by whether it was saved.
        """
        self._push_predictions()
        state = {**self._columns, **self._apart()}
        if self._pending:
            rows = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
            state |= zip(PENDING, rows, strict=True)
        return state

    def _apart(self) -> dict[str, Tensor]:
        return {} if self._held_out is None else self._held_out.state

    def columns(self) -> dict[str, Tensor]:
        """Every column by name, N rows each, after a flush. Tensors are shared, not copied."""
        self.flush()
        return dict(self._columns)

    def columns_of_method(self) -> dict[str, Tensor]:
        """Columns that `observe` does not fill, by name; nothing is flushed. Tensors are shared."""
        return {
            name: values
            for name, values in self._columns.items()
            if name not in DIGESTED and name not in PUSHED
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the columns of `state_dict`, or of `running_state`.

        Raises:
            RecordError: names or shapes differ from what is declared here.
        """
        here = {**self._columns, **self._apart()}
        pending = [state[name] for name in PENDING if name in state]
        state = {name: values for name, values in state.items() if name not in PENDING}
        if set(state) != set(here) or any(
            state[name].shape != values.shape for name, values in here.items()
        ):
            raise RecordError(
                f"The stored history has the columns {sorted(state)}, this one "
                f"{sorted(here)}, of {self.samples} samples and {self.classes} classes.",
                "Resume with the data and the method that the run was started with.",
            )
        self._pending, self._pending_rows, self._unpushed = [], 0, []
        if pending:
            index, logits, labels = (values.to(self.device, copy=True) for values in pending)
            self._pending, self._pending_rows = [(index, logits, labels)], len(index)
        self._started = True
        for name, values in here.items():
            values.copy_(state[name])
        if self._held_out is not None:
            self._held_out.number()


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that cost no memory before they are written, so far as the device can do that.

    torch.zeros writes them at once; NumPy asks the system for memory that reads as zero.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    octets = np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(octets).view(dtype).view(shape)
