"""A Slurm of its own on this machine: two nodes that are not there, without systemd, gone with the test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("one", "two")  # eight GPUs each, so that scripts may ask for them as they stand
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
KillWait=2
PropagateResourceLimits=NONE
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=64 Gres=gpu:8
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=64 Gres=gpu:8
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here, if there can be none."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    absent = [name for name in DAEMONS if not shutil.which(name, path=search)]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "the daemons of Slurm need root"


@dataclass(frozen=True)
class Slurm:
    """A running cluster."""

    env: dict[str, str]

    def __call__(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a command of Slurm says."""
        done = subprocess.run(
            [str(word) for word in command], cwd=cwd, env=self.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """The state and reason of a job, or of all jobs of an array."""
        return self("squeue", "--noheader", "--array", "--states=all", "--format=%T %r %i", "--job", job)

    def wait(self, job: str, seconds: float = 300) -> None:
        """Until a job, or all jobs of an array, are COMPLETED."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.state(job)
            states = {line.split()[0] for line in found.splitlines()}
            if states == {"COMPLETED"}:
                return
            assert not states & {"FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}, found
            assert "DependencyNeverSatisfied" not in found, found
            time.sleep(0.2)
        raise AssertionError(f"not done after {seconds} s: {found}")


@contextmanager
def cluster(folder: Path, env: dict[str, str]) -> Iterator[Slurm]:
    """Slurm with its files in `folder`; jobs get `env`."""
    path = f"{env['PATH']}:/usr/sbin"
    conf = folder / "slurm.conf"
    text = CONFIG.format(folder=folder, host=socket.gethostname(), nodes=NODES, ports=_free_ports(3))
    conf.write_text(text, encoding="utf-8")
    (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={folder}/gpu[0-7]\n", encoding="utf-8")
    for name in (f"gpu{number}" for number in range(8)):
        (folder / name).touch()
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    folder.chmod(0o711)  # munge wants a socket that everyone can reach
    key = folder / "munge.key"
    key.write_bytes(os.urandom(256))
    key.chmod(0o400)
    daemon = {**env, "PATH": path, "SLURM_CONF": str(conf)}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    with ExitStack() as running:

        def start(*command: str) -> None:
            log = running.enter_context((folder / f"{command[0]}-{command[-1]}.out").open("wb"))
            found = str(shutil.which(command[0], path=path))
            one = subprocess.Popen([found, *command[1:]], env=daemon, stdout=log, stderr=log)
            running.callback(_end, one)

        start("munged", *munge, f"--socket={folder}/munge.socket", "--force", "--foreground")
        start("slurmctld", "-D")
        for node in NODES:
            start("slurmd", "-D", "-N", node)
        slurm = Slurm(daemon)
        _until_idle(slurm, folder)
        try:
            yield slurm
        finally:
            subprocess.run(["scancel", "--user=root"], env=daemon, check=False, timeout=60)
            _until_empty(slurm)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _until_idle(slurm: Slurm, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%T"], env=slurm.env, capture_output=True, text=True
        )
        if done.stdout.split() == ["idle"] * len(NODES):
            return
        time.sleep(0.1)
    logs = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in folder.glob("*.out"))
    raise AssertionError(f"Slurm does not start: {done.stdout} {done.stderr}\n{logs}")


def _until_empty(slurm: Slurm) -> None:
    """Until no job has a process any more."""
    deadline = time.monotonic() + 15
    words: Sequence[str] = ("squeue", "--noheader", "--states=running,completing")
    while time.monotonic() < deadline and slurm(*words):
        time.sleep(0.1)
