"""Who this process is among how many, whatever started it; found from its environment alone.

deepspeed   RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_SIZE, CROSS_SIZE, MASTER_ADDR, MASTER_PORT
torchrun    RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, GROUP_WORLD_SIZE, MASTER_… and more
srun        SLURM_PROCID, SLURM_LOCALID, SLURM_STEP_NUM_TASKS, SLURM_STEP_NODELIST, SLURM_JOB_ID …
anything    RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT (a Kubernetes job, a hand-written script)
python      nothing of it: a group of one
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vgbdm.errors import InputError

PORTS = range(12000, 32000)
"""For jobs of SLURM; below those that systems give out."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process.

    Attributes:
        launcher: deepspeed, torchrun, srun, variables or python.
        rank: of this process, from 0.
        world_size: processes of the run.
        local_rank: among those on this machine.
        local_size: processes on this machine.
        nodes: machines.
        address: of the machine of rank 0.
        port: that rank 0 listens on; None: any, as there is nobody else.
        threads: of this process.
        generations: parents of this process that belong to its launcher.
        restarts: how often the launcher has started the run again.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    local_size: int
    nodes: int
    address: str
    port: int | None
    threads: int
    generations: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise InputError(
                f"rank {self.rank} of {self.world_size} ({self.launcher}): ranks go from 0 to one "
                "less than their number; see RANK and WORLD_SIZE"
            )
        if not 0 <= self.local_rank < self.local_size <= self.world_size:
            raise InputError(
                f"local rank {self.local_rank} of {self.local_size} on this machine, of "
                f"{self.world_size} in all ({self.launcher}): contradictory; see LOCAL_RANK"
            )
        if self.world_size > 1 and not self.address:
            raise InputError(
                f"{self.world_size} ranks ({self.launcher}) without MASTER_ADDR; set it to the "
                "machine of rank 0"
            )
        if self.world_size > 1 and self.port is None:
            raise InputError(
                f"{self.world_size} ranks ({self.launcher}) without MASTER_PORT; set it to a free "
                "port of the machine of rank 0"
            )
        if self.port is not None and not 0 < self.port < 65536:
            raise InputError(f"MASTER_PORT={self.port}: want 1 to 65535")
        if self.threads < 1:
            raise InputError(f"{self.threads} threads per rank: want at least 1; OMP_NUM_THREADS")

    def variables(self) -> dict[str, str]:
        """What torch and DeepSpeed look for in the environment; `discover` finds the same in it."""
        values = {
            "RANK": self.rank,
            "WORLD_SIZE": self.world_size,
            "LOCAL_RANK": self.local_rank,
            "LOCAL_WORLD_SIZE": self.local_size,
            "MASTER_ADDR": self.address,
            "OMP_NUM_THREADS": self.threads,
        }
        if self.port is not None:
            values["MASTER_PORT"] = self.port
        return {name: str(value) for name, value in values.items()}

    def check_devices(self, devices: int) -> None:
        """Refuse more ranks on a machine than it has accelerators; without any, the CPU serves."""
        if devices and self.local_size > devices:
            raise InputError(
                f"{self.local_size} ranks on this machine, which shows {devices} accelerator(s) to "
                "each; start fewer, or let each rank see all (srun: --gpu-bind=none)"
            )

    def describe(self, device: str, backend: str, threads: int) -> str:
        """One line for the log."""
        again = f", start {self.restarts + 1}" if self.restarts else ""
        return (
            f"{self.launcher}{again}: {self.world_size} rank(s) on {self.nodes} node(s), {device}, "
            f"{threads} thread(s) each, backend {backend}"
        )


def discover(env: Mapping[str, str], cores: int) -> Ranks:
    """The place of the process with this environment.

    Args:
        env: of the process.
        cores: it may use.

    Raises:
        InputError: where the environment is contradictory, or lacks something.
    """
    if "RANK" in env or "WORLD_SIZE" in env:
        return _from_variables(env, cores)
    if "SLURM_STEP_NODELIST" in env:
        return _from_slurm(env, cores)
    port = number(env, "MASTER_PORT") if "MASTER_PORT" in env else None
    return Ranks("python", 0, 1, 0, 1, 1, "127.0.0.1", port, _threads(env, cores, 1))


def _from_variables(env: Mapping[str, str], cores: int) -> Ranks:
    """As `torchrun`, `deepspeed` or somebody else has set them."""
    world = number(env, "WORLD_SIZE")
    launcher, generations, nodes = "variables", 0, 0
    local = number(env, "LOCAL_WORLD_SIZE", number(env, "LOCAL_SIZE", 1))
    if "TORCHELASTIC_RUN_ID" in env:
        launcher, generations, nodes = "torchrun", 1, number(env, "GROUP_WORLD_SIZE", 0)
    elif "CROSS_SIZE" in env:  # the front-end, and one process per machine below it
        launcher, generations, nodes = "deepspeed", 2, number(env, "CROSS_SIZE")
    return Ranks(
        launcher,
        number(env, "RANK"),
        world,
        number(env, "LOCAL_RANK", 0),
        local,
        nodes or -(-world // max(local, 1)),
        env.get("MASTER_ADDR", "" if world > 1 else "127.0.0.1"),
        number(env, "MASTER_PORT") if "MASTER_PORT" in env else None,
        _threads(env, cores, local),
        generations,
        number(env, "TORCHELASTIC_RESTART_COUNT", 0),
    )


def _from_slurm(env: Mapping[str, str], cores: int) -> Ranks:
    """As ``srun`` has set them; a batch script alone sets no ``SLURM_STEP_…``."""
    world = number(env, "SLURM_STEP_NUM_TASKS", number(env, "SLURM_NTASKS", 1))
    node = number(env, "SLURM_NODEID", 0)
    tasks = tasks_per_node(env.get("SLURM_STEP_TASKS_PER_NODE", str(world)))
    if not node < len(tasks) or sum(tasks) != world:
        raise InputError(
            f"SLURM_STEP_TASKS_PER_NODE={env.get('SLURM_STEP_TASKS_PER_NODE')}: contradicts node "
            f"{node} and {world} tasks"
        )
    job, step = number(env, "SLURM_JOB_ID"), number(env, "SLURM_STEP_ID", 0)
    derived = PORTS[(17 * job + step) % len(PORTS)]
    return Ranks(
        "srun",
        number(env, "SLURM_PROCID"),
        world,
        number(env, "SLURM_LOCALID"),
        tasks[node],
        len(tasks),
        env.get("MASTER_ADDR", first_host(env["SLURM_STEP_NODELIST"])),
        number(env, "MASTER_PORT", derived),
        _threads(env, cores, tasks[node]),
        1,
        number(env, "SLURM_RESTART_COUNT", 0),
    )


def number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    """A whole number from the environment."""
    text = env.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"-?\d+", text.strip()):
        raise InputError(f"{name}={text or '(not set)'}: want a whole number")
    return int(text)


def first_host(nodes: str) -> str:
    """The first of SLURM's list of hosts: ``gpu[003-010,12],login`` → ``gpu003``."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def tasks_per_node(text: str) -> list[int]:
    """SLURM's tasks by node: ``2(x3),1`` → 2, 2, 2, 1."""
    if not re.fullmatch(r"\d+(\(x\d+\))?(,\d+(\(x\d+\))?)*", text):
        raise InputError(f"SLURM_STEP_TASKS_PER_NODE={text}: want such as 2(x3),1")
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in parts for _ in range(int(times or 1))]


def _threads(env: Mapping[str, str], cores: int, local: int) -> int:
    """Those asked for, or an equal share of the cores."""
    if "OMP_NUM_THREADS" in env:
        return number(env, "OMP_NUM_THREADS")
    if "SLURM_CPUS_PER_TASK" in env:
        return number(env, "SLURM_CPUS_PER_TASK")
    return max(1, cores // max(local, 1))
