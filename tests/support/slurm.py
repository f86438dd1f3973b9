"""A cluster of one machine under SLURM, without systemd, beside any other: own ports, own keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo")
SYSTEM = "/usr/sbin:/sbin"
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/socket,cred_expire=10
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/linear
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """SLURM's daemons of one node; as a context manager it leaves none.

    Args:
        place: folder for its configuration, keys, states and logs.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.env = os.environ | {
            "SLURM_CONF": str(place / "slurm.conf"), "OMP_NUM_THREADS": "1",
            "PATH": f"{os.environ['PATH']}:{SYSTEM}",
        }  # fmt: skip

    def __enter__(self) -> Cluster:
        lacking = [name for name in PROGRAMS if shutil.which(name, path=self.env["PATH"]) is None]
        if lacking or os.geteuid() != 0:
            pytest.skip(
                f"SLURM's {', '.join(lacking)} is not installed (apt-get install slurmctld slurmd "
                "slurm-client munge)" if lacking else "SLURM's daemons are started by root alone"
            )  # fmt: skip
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("slurmd", "slurmctld", "munged"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.place / f"{name}.pid").read_text()), signal.SIGKILL)

    def _start(self) -> None:
        place = self.place
        for folder in ("state", "spool"):
            (place / folder).mkdir()
        (place / "key").write_bytes(os.urandom(128))
        (place / "key").chmod(0o400)
        host, ports = os.uname().nodename.split(".")[0], (free_port(), free_port())
        cores = os.cpu_count() or 1
        (place / "slurm.conf").write_text(
            CONF.format(host=host, place=place, ports=ports, cores=cores)
        )
        files = [f"--{name}-file={place}/munged.{name}" for name in ("pid", "log", "seed")]
        self.run("munged", "--force", f"--socket={place}/socket", f"--key-file={place}/key", *files)
        self.run("slurmctld", "-c")
        self.run("slurmd", "-N", host)
        self.wait_until(lambda: "idle" in self.run("sinfo", "--noheader", "-o", "%T"), 60)

    def run(self, *command: str, place: Path | None = None, **env: str) -> str:
        """What a command of SLURM says."""
        done = subprocess.run(
            command, env=self.env | env, capture_output=True, text=True, timeout=60, cwd=place
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """What the daemons say."""
        return "".join(path.read_text()[-3000:] for path in sorted(self.place.glob("slurm*.log")))

    def state(self, job: str) -> str:
        """Such as ``RUNNING``."""
        told = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return next(word.partition("=")[2] for word in told if word.startswith("JobState="))

    def wait_until(self, holds, seconds: float = 240) -> None:
        """Wait until something holds, and fail where it does not."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not in {seconds} s; {self.logs()}"
            time.sleep(0.05)
