"""Two machines, as two network namespaces of this one, joined by a cable."""

import subprocess
import uuid

import numpy as np
import pandas as pd
import pytest
from processes import BIN, Run
from system_fields import write_stores

pytestmark = pytest.mark.slow

ADDRESSES = ("10.231.77.1", "10.231.77.2")
QUICK = [
    "system=lorenz", "model.window=10", "model.features=16", "batch=8", "validation.limit=8",
    "system.presets.encoder.width=16", "trainer.total_steps=10", "trainer.validations=1",
    "objective.schedules.gauge.start=0.01",
]  # fmt: skip


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def nodes():
    """Names of two namespaces that reach each other by `ADDRESSES`."""
    tag = uuid.uuid4().hex[:6]
    names = [f"node{k}-{tag}" for k in (0, 1)]
    ends = [f"v{k}{tag}" for k in (0, 1)]
    try:
        made = [ip("netns", "add", name) for name in names]
    except FileNotFoundError:
        pytest.skip("there is no ip command")
    if any(done.returncode for done in made):
        pytest.skip(f"namespaces are not allowed here: {made[0].stderr.strip()}")
    try:
        done = ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        if done.returncode:
            pytest.skip(f"cables between namespaces are not allowed here: {done.stderr.strip()}")
        for name, end, address in zip(names, ends, ADDRESSES, strict=True):
            ip("link", "set", end, "netns", name)
            for command in (
                ["link", "set", end, "name", "eth0"],
                ["addr", "add", f"{address}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
            ):
                assert ip("-n", name, *command).returncode == 0
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return [*write_stores(tmp_path_factory.mktemp("lorenz")), *QUICK]


def launcher(kind, node, hostfile):
    if kind == "torchrun":
        return [
            str(BIN / "torchrun"), "--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1",
            f"--master-addr={ADDRESSES[0]}", "--master-port=29611",
        ]  # fmt: skip
    return [
        str(BIN / "deepspeed"), f"--hostfile={hostfile}", "--no_ssh", f"--node_rank={node}",
        f"--master_addr={ADDRESSES[0]}", "--master_port=29612",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["torchrun", "deepspeed"])
def test_two_nodes_train_like_two_ranks_of_one(nodes, options, tmp_path, kind):
    hostfile = tmp_path / "hosts"
    hostfile.write_text("".join(f"{address} slots=1\n" for address in ADDRESSES))
    more = [*options, f"backend={'ddp' if kind == 'torchrun' else 'deepspeed'}"]
    runs = [
        Run(
            tmp_path / "run", more, env={"GLOO_SOCKET_IFNAME": "eth0"},
            launcher=["ip", "netns", "exec", name, *launcher(kind, k, hostfile)],
        )
        for k, name in enumerate(nodes)
    ]  # fmt: skip
    with runs[0] as first, runs[1] as second:
        assert first.finish() == 0, first.text() + second.text()
        assert second.finish() == 0, second.text()
        said = first.lines(f"{kind}: 2 rank(s) on 2 node(s), cpu")
        assert len(said) == 1, first.text()
        assert not second.lines(f"{kind}: ")
        assert first.status()["state"] == "finished"
    with Run(tmp_path / "one", more, launcher=2) as alone:
        assert alone.finish() == 0, alone.text()
    two, one = (pd.read_csv(tmp_path / name / "log.csv")["loss"] for name in ("run", "one"))
    assert np.array_equal(two, one)
