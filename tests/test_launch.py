"""The scripts that start `smoothswap train` elsewhere, run against stand-ins of the programs they call."""

import os
import shutil
import subprocess
import time

import pytest

from tests.places import ROOT

LAUNCH = ROOT / "launch"


@pytest.fixture
def calls(tmp_path):
    """Puts stand-ins first on the path; each writes its arguments to `calls` and ends as `codes` says, line by line."""
    bin_, log, codes = tmp_path / "bin", tmp_path / "calls", tmp_path / "codes"
    bin_.mkdir()
    codes.write_text("")
    for name in ("smoothswap", "gcloud", "nvidia-smi", "srun", "scontrol"):
        (bin_ / name).write_text(
            f'#!/usr/bin/env bash\necho "{name} $CUDA_VISIBLE_DEVICES $*" >> {log}\n'
            f"[ {name} = nvidia-smi ] && printf '0\\n1\\n2\\n3\\n'\n"
            f"[ {name} = gcloud ] && echo ACTIVE\n"
            f"[ {name} = smoothswap ] || [ {name} = srun ] || exit 0\n"
            f'code=$(head -1 {codes}); sed -i 1d {codes}; exit "${{code:-0}}"\n'
        )
        (bin_ / name).chmod(0o755)

    def run(script: str, *arguments: str, ends: str = "", **env: str):
        codes.write_text(ends)
        environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "", **env}
        done = subprocess.run(
            ["bash", str(LAUNCH / script), *arguments], capture_output=True, text=True, env=environment, timeout=60,
            check=False, cwd=tmp_path,
        )  # fmt: skip
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return done, lines

    return run


@pytest.mark.parametrize("script", [path.name for path in LAUNCH.iterdir() if path.suffix in (".sh", ".sbatch")])
def test_every_script_is_bash(script):
    subprocess.run(["bash", "-n", str(LAUNCH / script)], check=True)


@pytest.mark.parametrize("versions, chosen", [((11, 13, 12), 13), ((11, 12), 12), ((10, 11, 14), 11)])
def test_the_newest_python_that_will_do_sets_up(versions, chosen, tmp_path):
    for version in versions:
        stand_in = tmp_path / f"python3.{version}"
        stand_in.write_text(
            f"#!/bin/bash\nif [ $1 = -c ]; then exit {int(not 11 <= version <= 13)}; fi\n"
            f"echo made by 3.{version} >&2\nexit 1\n"
        )
        stand_in.chmod(0o755)
    for name in ("python3", "python"):
        (tmp_path / name).symlink_to(f"python3.{versions[0]}")
    for name in ("cksum", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["/bin/bash", "-c", f"source {LAUNCH / 'setup.sh'}; setup_environment dev"],
        capture_output=True, text=True, cwd=ROOT, check=False,
        env={"PATH": str(tmp_path), "VENV": str(tmp_path / "venv")},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == f"made by 3.{chosen}", done.stderr


def test_a_host_starts_again_after_a_crash_but_not_after_a_mistake(calls):
    done, lines = calls("multi_gpu.sh", "--config=c", "--workdir=w", ends="137\n134\n0\n")
    assert done.returncode == 0 and lines == ["smoothswap  train --config=c --workdir=w"] * 3
    assert done.stderr.count("starting again from the newest checkpoint") == 2
    done, lines = calls("multi_gpu.sh", "--config=c", ends="1\n")
    assert done.returncode == 1 and len(lines) == 1
    done, lines = calls("multi_gpu.sh", "--config=c", ends="9\n" * 9, MAX_RESTARTS="2")
    assert done.returncode == 9 and len(lines) == 3


def test_processes_of_a_host_share_its_gpus_and_know_each_other(calls):
    done, lines = calls("multi_gpu.sh", "--processes", "2", "--config=c", PORT="1234")
    assert done.returncode == 0
    started = sorted(line for line in lines if line.startswith("smoothswap"))
    common = "train --config=c --coordinator=127.0.0.1:1234 --processes=2"
    assert started == [f"smoothswap 0,1 {common} --process=0", f"smoothswap 2,3 {common} --process=1"]
    done, _ = calls("multi_gpu.sh", "--processes", "3", "--config=c")
    assert done.returncode == 2 and "found 4 GPUs for 3 processes; wanted a multiple" in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_to_the_script_ends_the_run_well_and_starts_nothing_again(processes, tmp_path):
    stand_in = tmp_path / "smoothswap"
    stand_in.write_text(
        "#!/usr/bin/env bash\n"
        f"trap 'sleep 0.3; echo saved >> {tmp_path}/log; exit 0' TERM\necho started >> {tmp_path}/log\n"
        "for i in $(seq 100); do sleep 0.1; done\n"
    )
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0,1"}
    command = ["bash", str(LAUNCH / "multi_gpu.sh"), "--processes", str(processes), "--config=c"]
    with subprocess.Popen(command, env=environment) as script:
        while not (tmp_path / "log").exists() or (tmp_path / "log").read_text().count("started") < processes:
            time.sleep(0.05)
        script.terminate()
        assert script.wait(timeout=20) == 0
    assert sorted((tmp_path / "log").read_text().split()) == ["saved"] * processes + ["started"] * processes


def test_a_slurm_job_is_queued_again_after_a_failed_host_only(calls, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    env = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    done, lines = calls("slurm.sbatch", "--config=c", ends="0\n", **env)
    command = "srun  --kill-on-bad-exit=1 smoothswap train --config=c --distributed --stopped-code=75"
    assert done.returncode == 0 and lines == [command]
    for code in (75, 137):  # out of time, after saving; a host that failed
        done, lines = calls("slurm.sbatch", "--config=c", ends=f"{code}\n", **env)
        assert done.returncode == code and lines[-1] == "scontrol  requeue 7"
    done, lines = calls("slurm.sbatch", "--config=c", ends="1\n", **env)
    assert done.returncode == 1 and len(lines) == 1


def test_a_tpu_slice_is_made_run_on_and_deleted(calls):
    env = {"ZONE": "z", "PROJECT": "p", "REPOSITORY": "https://r", "SPOT": "1"}
    done, lines = calls("tpu_pod.sh", "create", **env)
    assert done.returncode == 0, done.stderr
    assert "queued-resources create smoothswap --zone=z --project=p" in lines[0] and lines[0].endswith("--spot")
    assert "--worker=all" in lines[2] and "setup_environment faces,eval,bucket" in "\n".join(lines)
    done, lines = calls("tpu_pod.sh", "resume", "--config=c", "--workdir=gs://b/a b", **env)
    assert "smoothswap train --config=c --workdir=gs://b/a\\ b --distributed >> train.log" in lines[0]
    done, lines = calls("tpu_pod.sh", "delete", **env)
    assert len(lines) == 2
    done, _ = calls("tpu_pod.sh", "explode", **env)
    assert done.returncode == 2 and "want create, run, resume, log, status or delete" in done.stderr
    done, _ = calls("tpu_pod.sh", "create", ZONE="z")
    assert done.returncode != 0 and "set PROJECT" in done.stderr


def test_the_pods_of_a_set_know_each_other():
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text().replace("${", "$("))
    (job,) = content["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    command = spec["template"]["spec"]["containers"][0]["command"]
    name, set_name = job["name"], content["metadata"]["name"]
    assert f"--coordinator={set_name}-{name}-0-0.{set_name}:1234" in command
    assert f"--processes={spec['parallelism']}" in command and spec["parallelism"] == spec["completions"]
