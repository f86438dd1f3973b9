"""Ranks from recorded environments of every launcher; wrong ones are refused in one line."""

import pytest
from ranks import discover, first_host, tasks_per_node

from vgbdm.errors import InputError

# Recorded: all that the launcher changed in the environment of one rank. torch 2.14, two network
# namespaces as machines: torchrun --nnodes=2 --node-rank=1 --nproc-per-node=2 --max-restarts=3
# --master-addr=10.77.0.1 --master-port=29555, the second machine's second process.
TORCHRUN = {
    "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29555", "OMP_NUM_THREADS": "1", "RANK": "3",
    "ROLE_NAME": "default", "ROLE_RANK": "3", "ROLE_WORLD_SIZE": "4",
    "TORCHELASTIC_ERROR_FILE": "/tmp/torchelastic_bzfg4qwy/none_yvs5_f1p/attempt_0/1/error.json",
    "TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT",
    "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "WORLD_SIZE": "4",
}  # fmt: skip
# Recorded likewise, DeepSpeed 0.19.8: deepspeed --num_accelerators 2, the second process.
DEEPSPEED = {
    "CROSS_RANK": "0", "CROSS_SIZE": "1", "CUDA_VISIBLE_DEVICES": "0,1", "LOCAL_RANK": "1",
    "LOCAL_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "RANK": "1", "WORLD_SIZE": "2",
}  # fmt: skip
# And: deepspeed --hostfile=… --no_ssh --node_rank=1 --master_addr=10.77.0.1 --master_port=29612.
DEEPSPEED_HOSTS = {
    "CROSS_RANK": "1", "CROSS_SIZE": "2", "CUDA_VISIBLE_DEVICES": "0,1", "LOCAL_RANK": "1",
    "LOCAL_SIZE": "2", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29612",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "RANK": "3", "WORLD_SIZE": "4",
}  # fmt: skip
# Written by hand after the manual of srun: there is no SLURM to record.
SRUN = {  # srun --ntasks 5 over three nodes, the last node's only task
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_PROCID": "4", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2", "SLURM_NTASKS": "5", "SLURM_STEP_NUM_TASKS": "5", "SLURM_NNODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_STEP_NODELIST": "gpu[003-004,017]",
    "SLURM_CPUS_PER_TASK": "8",
}  # fmt: skip


def test_torchrun():
    ranks = discover(TORCHRUN, cores=16)
    assert (ranks.launcher, ranks.rank, ranks.world_size) == ("torchrun", 3, 4)
    assert (ranks.local_rank, ranks.local_size, ranks.nodes) == (1, 2, 2)
    assert (ranks.address, ranks.port, ranks.threads) == ("10.77.0.1", 29555, 1)
    assert (ranks.generations, ranks.restarts) == (1, 0)
    ranks = discover(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"}, cores=16)
    line = ranks.describe("cpu", "TorchBackend", 1)
    assert line == (
        "torchrun, start 2: 4 rank(s) on 2 node(s), cpu, 1 thread(s) each, backend TorchBackend"
    )


def test_deepspeed():
    ranks = discover(DEEPSPEED, cores=16)
    assert (ranks.launcher, ranks.rank, ranks.world_size) == ("deepspeed", 1, 2)
    assert (ranks.local_rank, ranks.local_size, ranks.nodes) == (1, 2, 1)
    assert (ranks.threads, ranks.generations) == (8, 2)


def test_deepspeed_with_a_hostfile():
    ranks = discover(DEEPSPEED_HOSTS, cores=16)
    assert (ranks.launcher, ranks.rank, ranks.world_size) == ("deepspeed", 3, 4)
    assert (ranks.local_rank, ranks.local_size, ranks.nodes) == (1, 2, 2)
    assert (ranks.address, ranks.port, ranks.threads) == ("10.77.0.1", 29612, 8)


def test_srun():
    ranks = discover(SRUN, cores=2)
    assert (ranks.launcher, ranks.rank, ranks.world_size) == ("srun", 4, 5)
    assert (ranks.local_rank, ranks.local_size, ranks.nodes) == (0, 1, 3)
    assert (ranks.address, ranks.threads) == ("gpu003", 8)
    others = [discover({**SRUN, "SLURM_JOB_ID": job}, 2).port for job in ("4711", "4712")]
    assert ranks.port == others[0] != others[1]
    assert all(12000 <= port < 32000 for port in others)


def test_plain_python_and_a_batch_script_without_srun_are_one():
    batch = {k: v for k, v in SRUN.items() if "STEP" not in k}
    for env in ({}, batch | {"SLURM_CPUS_PER_TASK": "4"}):
        ranks = discover(env, cores=4)
        assert (ranks.launcher, ranks.rank, ranks.world_size) == ("python", 0, 1)
        assert (ranks.port, ranks.threads, ranks.generations) == (None, 4, 0)


def test_torchrun_inside_srun_counts_as_torchrun():
    assert discover(SRUN | TORCHRUN, 16) == discover(TORCHRUN, 16)


@pytest.mark.parametrize("env", [TORCHRUN, DEEPSPEED, DEEPSPEED_HOSTS, SRUN, {}])
def test_what_libraries_are_told_is_found_again(env):
    ranks = discover(env, cores=8)
    again = discover(ranks.variables(), cores=3)
    for name in ("rank", "world_size", "local_rank", "local_size", "address", "port", "threads"):
        assert getattr(again, name) == getattr(ranks, name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "4"}, "rank 4 of 4"),
        ({"RANK": "-1"}, "rank -1 of 4"),
        ({"RANK": "first"}, "RANK=first: want a whole number"),
        ({"WORLD_SIZE": None}, r"WORLD_SIZE=\(not set\)"),
        ({"RANK": None}, r"RANK=\(not set\)"),
        ({"LOCAL_RANK": "2"}, "local rank 2 of 2"),
        ({"LOCAL_WORLD_SIZE": "8"}, "of 8 on this machine, of 4 in all"),
        ({"MASTER_ADDR": None}, "without MASTER_ADDR"),
        ({"MASTER_PORT": None}, "without MASTER_PORT"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000"),
        ({"OMP_NUM_THREADS": "0"}, "0 threads per rank"),
    ],
)
def test_wrong_environments_are_refused(change, words):
    env = {k: v for k, v in {**TORCHRUN, **change}.items() if v is not None}
    with pytest.raises(InputError, match=words) as caught:
        discover(env, cores=4)
    assert "\n" not in str(caught.value)


def test_contradictory_slurm_is_refused():
    with pytest.raises(InputError, match="contradicts node 2 and 5 tasks"):
        discover({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "5"}, cores=4)


def test_more_ranks_than_accelerators_are_refused():
    ranks = discover(DEEPSPEED, cores=4)
    for devices in (0, 2, 8):
        ranks.check_devices(devices)
    with pytest.raises(InputError, match="2 ranks on this machine, which shows 1 accelerator"):
        ranks.check_devices(1)


def test_slurm_lists():
    assert first_host("login1,gpu[1-2]") == "login1"
    assert first_host("r[1-2]n[03-04],x") == "r1n03"
    assert first_host("gpu[7,9-12]") == "gpu7"
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    with pytest.raises(InputError, match="want such as"):
        tasks_per_node("two")
