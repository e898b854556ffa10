"""Two machines on one: `thresher fit` in two network namespaces, joined by a virtual cable.

    python benchmarks/two_nodes.py     as root, on Linux with iproute2

Each side has a network of its own, a torchrun of its own and a process of the training; they meet
by torchrun's rendezvous over the cable. One side starts in a folder that the other does not look
into, as on machines without a common file system. The history is compared, bit for bit, with that
of two processes of one machine; exits with 0 when they agree, 1 when they do not, and 77, the code
of a skipped test, where namespaces cannot be made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

SKIPPED = 77
SIDES = {"thresher-a": "10.213.77.1", "thresher-b": "10.213.77.2"}
CABLE = ("thresher-va", "thresher-vb")
PORT = 29513
METHOD = ("--method", "selfie", "--noise-rate", "0.2", "--epochs", "5")
OPTIONS = (*METHOD, "--learning-rate", "0.01", "--device", "cpu", "--json")


def commanded(*command: str) -> None:
    """Run a command of iproute2."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def lay_cable() -> None:
    """Two namespaces, a pair of virtual devices, an address at each end."""
    for side in SIDES:
        commanded("ip", "netns", "add", side)
    commanded("ip", "link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1])
    for (side, address), device in zip(SIDES.items(), CABLE, strict=True):
        commanded("ip", "link", "set", device, "netns", side)
        inside = ("ip", "-n", side)
        commanded(*inside, "address", "add", f"{address}/24", "dev", device)
        commanded(*inside, "link", "set", device, "up")
        commanded(*inside, "link", "set", "lo", "up")


def take_cable_away() -> None:
    """Remove what `lay_cable` made, as far as it came."""
    for side in SIDES:
        subprocess.run(["ip", "netns", "delete", side], check=False, capture_output=True)
    subprocess.run(["ip", "link", "delete", CABLE[0]], check=False, capture_output=True)


def write_data(path: Path) -> None:
    """Digits, a fifth of the labels made wrong."""
    import numpy as np
    from sklearn.datasets import load_digits

    found, random = load_digits(), np.random.default_rng(0)
    labels = found.target.copy()
    wrong = random.random(len(labels)) < 0.2
    labels[wrong] = random.integers(0, 10, int(wrong.sum()))
    np.savez(path, X=(found.images * 15).astype(np.uint8)[..., None], y=labels)


def start(side: str, device: str, folder: Path, data: Path) -> subprocess.Popen[str]:
    """One side's torchrun and its process."""
    folder.mkdir()
    shutil.copy(data, folder / "data.npz")
    address, endpoint = SIDES[side], f"{next(iter(SIDES.values()))}:{PORT}"
    # names of hosts mean nothing in a namespace: torchrun is told who keeps the rendezvous
    keeps = f"is_host={int(endpoint.startswith(f'{address}:'))}"
    command = (
        f"ip netns exec {side} {sys.executable} -m torch.distributed.run --nnodes 2 "
        f"--nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint {endpoint} --rdzv-id thresher "
        f"--rdzv-conf {keeps} --local-addr {address} -m thresher fit data.npz --out run"
    ).split()
    environment = os.environ | {"GLOO_SOCKET_IFNAME": device, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *OPTIONS],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def apart(first: Path, second: Path) -> list[str]:
    """Columns of two histories that differ in a bit."""
    one, other = (load_file(each / "history.safetensors") for each in (first, second))
    return [name for name, values in one.items() if not torch.equal(values, other[name])]


def compared(folder: Path) -> int:
    """Train on both sides, and on one with two processes; say what came of it."""
    write_data(folder / "data.npz")
    sides = [
        start(side, device, folder / side, folder / "data.npz")
        for side, device in zip(SIDES, CABLE, strict=True)
    ]
    said = [side.communicate(timeout=600) for side in sides]
    for side, (_, errors) in zip(sides, said, strict=True):
        if side.returncode != 0:
            print(errors, file=sys.stderr)
            print("One side has failed: its messages stand above.")
            return 1
    command = (
        f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2 "
        "-m thresher fit data.npz --out one-machine"
    ).split()
    subprocess.run(
        [*command, *OPTIONS],
        cwd=folder,
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    runs = [folder / side / "run" for side in SIDES if (folder / side / "run").exists()]
    objects = [out for out, _ in said if out.strip()]
    if len(runs) != 1 or len(objects) != 1:
        print(f"{len(runs)} run folders and {len(objects)} results, where there must be one each.")
        return 1
    suspects = json.loads(objects[0])["n_label_issues"]
    print(f"Two nodes: {suspects} suspects; the run is on {runs[0].parent.name}.")
    different = apart(folder / "one-machine", runs[0])
    if different:
        print(f"Other than two processes of one machine, in {', '.join(different)}.")
        return 1
    print("The history is that of two processes of one machine, bit for bit.")
    return 0


def main() -> int:
    """Lay the cable, compare, take it away."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        print("Skipped: network namespaces need root and iproute2's command ip.")
        return SKIPPED
    try:
        lay_cable()
    except subprocess.CalledProcessError as error:
        take_cable_away()
        print(f"Skipped: {' '.join(error.cmd)} failed: {error.stderr.strip()}")
        return SKIPPED
    try:
        with tempfile.TemporaryDirectory() as folder:
            return compared(Path(folder))
    finally:
        take_cable_away()


if __name__ == "__main__":
    sys.exit(main())
