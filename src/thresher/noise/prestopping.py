"""Prestopping: go back to before wrong labels were memorised, and learn on from what was.

Phase I is standard training, watched on held-out rows. When their error has stopped falling, or
the training error has fallen to the noise rate, so that wrong labels must be among what was
learned, the network goes back to the epoch with the smallest held-out error. Phase II learns from
the memorised samples of a batch only, a set that grows as right labels become easy.

    phase I ends  when training error ≤ τ, or the held-out error has had no new minimum for p epochs
    goes back to  the last minimum of the held-out error with training error > τ
    phase II      mean CE over at most floor(b (1 - τ)) memorised samples, the firmest first

Either half of the rule may be had alone, or MORPH's in their place: as many samples are memorised
as are clean. Those that look at the trained rows only go back to nothing: what they stop at is
what they look for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from thresher.errors import ParameterError, nearest
from thresher.history import Column
from thresher.noise.estimators import choose_estimator
from thresher.noise.memorised import label_history, memorised_share, safe_set
from thresher.noise.method import Change, Decision, Method, Plan, Step
from thresher.noise.rate import SETTLED
from thresher.phases import quarter, shortened
from thresher.ranges import check_positive

__all__ = ["STOPS", "Prestopping", "stop_rule"]

#: What ends phase I → what is needed besides the noise rate.
STOPS = {
    "combined": ("held_out",),
    "validation": ("held_out",),
    "noise-rate": (),
    "memorised": (),
}

FIRST_STOP = 2  # epochs: a network of one epoch is not worth going back to


def stop_rule(
    held_out_error: float,
    trained_error: float,
    *,
    lowest: float,
    waited: int,
    patience: int,
    noise_rate: float | None,
) -> Literal["save", "stop", "wait"]:
    """What to do after an epoch of phase I.

    Args:
        held_out_error: In [0, 1]; NaN where no rows are held out.
        trained_error: Error of the trained rows on their given labels, in [0, 1].
        lowest: The smallest held-out error so far.
        waited: Epochs since it, this one included.
        patience: p, epochs without a new minimum that end phase I; without held-out rows none do.
        noise_rate: τ, or None when it is not known.

    >>> stop_rule(0.3, 0.45, lowest=0.4, waited=1, patience=5, noise_rate=0.4)
    'save'
    >>> stop_rule(0.3, 0.39, lowest=0.4, waited=1, patience=5, noise_rate=0.4)
    'stop'
    """
    if noise_rate is not None and trained_error <= noise_rate:
        return "stop"
    if held_out_error < lowest:
        return "save"
    return "stop" if waited >= patience and not math.isnan(held_out_error) else "wait"


class Prestopping(Method):
    """Stop before wrong labels are memorised, and train on from the memorised samples alone.

    Args:
        noise_rate: τ, share of wrong labels, in [0, 1). None estimates it while phase I lasts, for
            the cap; by the combined rule phase I then ends by patience alone.
        window: q, predictions remembered, >= 1. Default 10 (Song et al. 2020).
        patience: p, epochs without a new minimum of the held-out error that end phase I, > 0.
            Default 10, or a quarter of a shorter run.
        cap: Keep at most the share 1 - τ of a batch, those memorised most firmly. Default True, as
            in the authors' code; their formula has no cap.
        stop: What ends phase I: "combined", as in the authors' code; "validation", only the
            held-out error; "noise-rate", only a training error of τ; "memorised", as many
            memorised samples as (1 - τ) N. Default "combined". The last two hold out no rows.
        estimate: What an unknown τ is estimated by (estimators.py). Default "settled".

    The held-out error is that of the rows held out of training, on their given labels, or the
    one that a loop measures on clean ones: ``end_epoch({"validation_accuracy": …})``. Without
    either, phase I ends when the training error has fallen to τ, and nothing goes back.

    Raises:
        ParameterError: a value out of range; or, after the first epochs, a stop by validation
            where no row is held out.

    Cost: 2 q + 6 bytes a sample, 4 more where τ is estimated, a copy of the network,
    the patience. Hurts when: hard right samples are never memorised early; a tenth of the rows (at
    most 2000) teach nothing.
    Source: Song, Kim, Park, Lee, How Does Early Stopping Help Generalization against Label Noise?,
    ICML 2020 workshop. Deviations: held-out labels may be as wrong as the others; phase I ends by
    patience instead of being trained to the end and thrown away; equally firm samples are kept by
    their loss; if phase I ends before anything was saved, training goes on from where it is.
    """

    name = "prestopping"
    source = "Song et al., ICML 2020 workshop"
    sample_bytes = "2q+10"
    sample_bytes_told = "2q+6"
    family = "sample selection"
    needs: tuple[str, ...] = ("held_out", "noise_rate")
    observe_first = True
    state: ClassVar[tuple[str, ...]] = ("rate", "stopped_at", "lowest", "lowest_at")
    rolled_back = ("predictions", "pushes")

    def __init__(
        self,
        noise_rate: float | None = None,
        *,
        window: int = 10,
        patience: int | None = None,
        cap: bool = True,
        stop: Literal["combined", "validation", "noise-rate", "memorised"] = "combined",
        estimate: str = "settled",
    ) -> None:
        self.estimator = choose_estimator(noise_rate, estimate)
        check_positive("window", window)
        check_positive("patience", patience)
        if stop not in STOPS:
            raise ParameterError(
                f'stop must be one of {", ".join(STOPS)}, got "{stop}".', nearest(stop, STOPS)
            )
        self.needs = ("noise_rate", *STOPS[stop], *self.estimator.needs)
        self.noise_rate = noise_rate
        self.window, self.patience, self.cap, self.stop = window, patience, cap, stop
        self.rate = noise_rate or 0.0
        self.stopped_at = -1  # first epoch of phase II; -1 = phase I
        self.lowest, self.lowest_at = 1.0, 0  # held-out error; epochs done when it was reached

    def begin(self, plan: Plan) -> tuple[Column, ...]:
        """The last predictions of every sample, and what τ is estimated from."""
        self.patience_epochs = shortened(self.patience, 10, quarter(plan.epochs))
        read = self.estimator.begin(plan)
        return (*label_history(self.window), Column("last_prediction", "class", fill=-1), *read)

    def decide(self, step: Step) -> Decision:
        """Every sample in phase I; the firmest memorised ones in phase II."""
        if self.stopped_at < 0:
            self.estimator.observe(self.history, step)
            return Decision()
        safe = safe_set(self.history, step, 1 - self.rate if self.cap else None, self.window)
        return Decision(safe.to(step.losses.dtype))

    def end_epoch(self, measured: Mapping[str, float]) -> Change | None:
        """In phase I: keep the network at a new minimum, go back to it when it is over."""
        if self.stopped_at >= 0:
            return None
        self.rate = self.estimator.after_epoch(self.history, self.rate)
        done = self.history.epoch + 1
        if done < FIRST_STOP:
            self.lowest_at = done
            return None
        if self.stop == "memorised":
            crossed = memorised_share(self.history, self.window) >= 1 - self.rate
            self.stopped_at = done if crossed else -1
            return None
        eligible = self.history["eligible"]
        validation = self._validation(measured)
        known_rate = self.rate if math.isnan(validation) else self.noise_rate
        todo = stop_rule(
            1 - validation,
            1 - self.history.accuracy(eligible),
            lowest=self.lowest,
            waited=done - self.lowest_at,
            patience=self.patience_epochs,
            noise_rate=None if self.stop == "validation" else known_rate,
        )
        if todo == "save":
            self.lowest, self.lowest_at = 1 - validation, done
            return Change(save="stop")
        # no sample settles sooner, and phase II would go by a rate of 0
        too_soon = done < SETTLED and self.noise_rate is None and self.patience is None
        if todo == "stop" and not too_soon:
            self.stopped_at = done
            return Change(restore="stop") if self.lowest < 1 else None
        return None

    def _validation(self, measured: Mapping[str, float]) -> float:
        """The accuracy that phase I is watched on, in [0, 1]; NaN for none."""
        if self.stop == "noise-rate":
            return math.nan
        held_out = self.history.accuracy(~self.history["eligible"])
        found = measured.get("validation_accuracy", held_out)
        if self.stop == "validation" and math.isnan(found):
            raise ParameterError(
                'stop "validation" needs rows held out of training, and there are none.',
                'Hold some out, pass end_epoch({"validation_accuracy": …}), or use "noise-rate".',
            )
        return found
