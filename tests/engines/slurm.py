"""SLURM on this machine alone, for a test: controller and node in one, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue")

CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0,requeue_setup_env_fail
KillWait=1
MinJobAge=60
NodeName={host} CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why SLURM cannot be started here; empty where it can."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    lacking = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if lacking:
        return f"no {lacking[0]} on this machine: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "SLURM's node can only be started by root"


@contextlib.contextmanager
def started(cores: int = 2) -> Iterator[None]:
    """SLURM, as long as this lasts; its commands find it by $SLURM_CONF."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # sockets want short paths
    held = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ["PATH"] = os.pathsep.join([held["PATH"] or "", "/usr/sbin", "/usr/local/sbin"])
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = {"controller": _free_port(), "node": _free_port()}
    text = CONF.format(host=socket.gethostname().split(".")[0], folder=folder, cores=cores, **ports)
    (folder / "slurm.conf").write_text(text)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
                 f"--key-file={folder}/munge.key", f"--pid-file={folder}/munged.pid",
                 f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]  # fmt: skip
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            daemons.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
            limit = time.monotonic() + 10
            while command is munge and not (folder / "munge.socket").exists() and time.monotonic() < limit:
                time.sleep(0.05)
        limit = time.monotonic() + 60
        while "idle" not in told("sinfo", "--noheader", "--format=%T"):
            if time.monotonic() > limit:
                logs = [log.read_text()[-500:] for log in sorted(folder.glob("slurm*.log"))]
                pytest.skip("SLURM does not start here: " + "\n".join(logs))
            time.sleep(0.1)
        yield
    finally:
        told("scancel", "--user=root", "--state=PENDING"), told("scancel", "--user=root")
        limit = time.monotonic() + 10
        while told("squeue", "--noheader") and time.monotonic() < limit:
            time.sleep(0.1)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        for name, value in held.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        shutil.rmtree(folder, ignore_errors=True)


def told(*command: str) -> str:
    """What a command of SLURM's prints."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
