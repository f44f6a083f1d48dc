"""A script that logs with Trackio; the environment names the server.

    python trackio_training.py ROUNDS SECONDS_PER_ROUND

The script runs with the interpreter of an installed `trackio` and imports nothing of Heimdall.
"""

from __future__ import annotations

import sys
import time

import trackio


def main() -> None:
    rounds, seconds = int(sys.argv[1]), float(sys.argv[2])
    run = trackio.init(
        project="radio", name="first", group="night", config={"lr": 0.1, "layers": [1, 2]}
    )
    for step in range(rounds):
        trackio.log({"loss": 1 / (step + 1), "acc": step, "note": "text"})
        time.sleep(seconds)
    trackio.log({"loss": float("nan"), "late": float("inf")}, step=rounds + 5)
    trackio.log_system({"cpu": 12.5})
    trackio.alert("Too high", text="The loss is too high.", level=trackio.AlertLevel.ERROR)
    trackio.finish()
    print("run", run.id)  # noqa: T201

    again = trackio.init(project="radio", name="first", resume="must")
    trackio.log({"loss": 0.5})
    trackio.finish()
    print("resumed", again.id)  # noqa: T201


if __name__ == "__main__":
    main()
