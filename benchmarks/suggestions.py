"""How far the guess of what suggestions are worth is from the truth.

    python benchmarks/suggestions.py --data FOLDER [--only DATA]

One run of the method auto for each data set, seed 0. Prints, for the flagged rows: the share of
right suggestions, the guess, the mean probability of the suggestions, and the change of the number
of wrong labels if all suggestions were applied, as a share of the flagged rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from noise_data import load_problem
from one_run import audited_run

from thresher.audit.suggestions import suggestion_precision

CELLS = (
    ("cifar", "aggre", 16),
    ("cifar", "worse", 16),
    ("fashion", "instance-dependent 30 %", 30),
    ("fashion", "pair 30 %", 30),
    ("fashion", "symmetric 5 %", 30),
    ("fashion", "none", 30),
    ("letter", "class-dependent 20 %", 40),
    ("letter", "pair 40 %", 40),
    ("letter", "symmetric 20 %", 40),
    ("letter", "none", 40),
    ("magic", "symmetric 20 %", 30),
    ("magic", "none", 30),
    ("segment", "pair 20 %", 30),
    ("digits", "symmetric 40 %", 30),
    ("digits", "symmetric 5 %", 30),
    ("hausa", "real", 30),
)


def main() -> None:
    """Print a table, a line for each data set as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", help="one data set")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| data | noise | flagged | right | guess | mean probability | change of wrong labels |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for data, noise, epochs in CELLS:
        if arguments.only not in (None, data):
            continue
        problem = load_problem(arguments.data, data, noise, 0)
        run = audited_run(problem.samples, method="auto", epochs=epochs, seed=0)
        verdicts, true = run.verdicts, problem.truth.labels
        flagged = verdicts.is_label_issue
        right = (verdicts.suggested == true)[flagged].mean()
        spoilt = (problem.samples.labels == true)[flagged].mean()
        known = verdicts.judged
        guess = suggestion_precision(
            verdicts.p_given[known],
            verdicts.p_suggested[known],
            flagged[known],
            verdicts.noise_rate.estimate,
        )
        print(
            f"| {data} | {noise} | {flagged.mean():.3f} | {right:.2f} | {guess.mean():.2f} "
            f"| {verdicts.p_suggested[flagged].mean():.2f} | {spoilt - right:+.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
