"""The fragile parts of trained networks, as a table in Markdown.

    python -m benchmarks.sensitivity runs/main_job/standard-0 runs/main_job/adversarial-0

Each part of a network deviates alone: on 20 random dies of ``mismatch(0.1)``, the same for every part and network, and
under the ten-step attack at ζ = 0.1; balanced accuracy on the first 200 test beats. Seed 1 for dies and attacks.
"""

from __future__ import annotations

import argparse

import pandas as pd

import neurorobust as nr


def table(folder: str, task: nr.data.Task) -> pd.DataFrame:
    """The parameters of one network, and the network as a whole."""
    network, _ = nr.load(folder)
    rows = nr.sensitivity(network, task.test.first(200), seed=1).table()
    return rows[rows["level"].isin(["network", "parameter"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="model folders")
    task = nr.tasks.ecg()
    for folder in parser.parse_args().folders:
        rows = table(folder, task)
        print(f"{folder}: nominal {rows['nominal'].iloc[0]:.3f}\n")
        print("| part alone | elements | random dies: mean | min | ten steps | loss added, first order |")
        print("|---|---|---|---|---|---|")
        for row in rows.to_dict("records"):
            name = "everything" if row["level"] == "network" else row["parameter"]
            print(
                f"| {name} | {row['elements']} | {row['random_mean']:.3f} | {row['random_min']:.3f} | "
                f"{row['attacked']:.3f} | {row['first_order']:.4f} |"
            )
        print()


if __name__ == "__main__":
    main()
