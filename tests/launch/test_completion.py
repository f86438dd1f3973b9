"""Completion by a real bash."""

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import completion
import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
BREAKS = " \t\n\"'><=;|&(:"
"""What bash has for COMP_WORDBREAKS."""
OFFERED = {
    "vgbdm train": ["train-era5", "train-system"],
    "python -m vgbdm st": ["store"],
    "torchrun --nproc-per-node 2 -m vgbdm che": ["check"],
    "vgbdm train-era5 stor": ["store="],
    "vgbdm train-era5 back": ["backend.", "backend="],
    "vgbdm train-era5 model=g": ["gbdm"],
    "vgbdm train-system objective=": [
        "aphynity", "blackbox", "node", "physvae", "rollout", "vgbdm",
    ],
    "vgbdm train-era5 trainer.max": ["trainer.max_minutes=", "trainer.max_skips="],
    "vgbdm train-era5 trainer.nonfinite=": ["skip", "stop"],
    "vgbdm train-era5 resume=": ["false", "true"],
    "vgbdm train-era5 model=vgbdm model.lat": ["model.latents."],
    "vgbdm train-era5 --m": ["--multirun"],
    "vgbdm train-era5 --help str": ["stream"],
    "python launch/train_era5.py size=t": ["tiny"],
    "deepspeed --num_accelerators 2 /some/where/launch/train_era5.py size=t": ["tiny"],
    "launch/evaluate_system.py data.te": ["data.test="],
    "vgbdm train-era5 nonsense=1 size=t": ["tiny"],
    "vgbdm train-era5 'store=a b' size=t": ["tiny"],
    "vgbdm train-era5 store=/da": [],
    "python other.py size=t": [],
}  # fmt: skip


@pytest.mark.parametrize("line", OFFERED)
def test_what_is_offered_at_the_end_of_a_line(line):
    assert completion.complete(line, BREAKS) == OFFERED[line]


def test_where_no_sign_breaks_words_all_of_the_word_is_offered():
    assert completion.complete("vgbdm train-era5 model=g", " ") == ["model=gbdm"]
    assert completion.complete("vgbdm train-era5 trainer.nonfinite=st", " ") == [
        "trainer.nonfinite=stop"
    ]


def test_completion_help_and_cfg_import_no_torch():
    code = f"""
import sys; sys.path.insert(0, {str(LAUNCH)!r})
import completion
assert completion.complete("vgbdm train-era5 resume=", "=")
import entry
def main(cfg):
    "What it does."
entry.show(main, "train_era5", ["--help"])
entry.show(main, "train_era5", ["--cfg"])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def bash(*words: str) -> list[str]:
    """What bash gets for its words, at the end of the last one."""
    told = f"""
        eval "$({shlex.quote(sys.executable)} {LAUNCH}/completion.py)"
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        COMP_LINE={shlex.quote(" ".join(words).replace(" = ", "="))}
        COMP_POINT=${{#COMP_LINE}}
        complete -p train_era5.py >&2
        _vgbdm
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "--norc", "-c", told], capture_output=True, text=True)
    assert "-F _vgbdm train_era5.py" in result.stderr
    return result.stdout.split()


def test_bash_completes_keys_and_the_choices_of_groups():
    assert bash("vgbdm", "train-era5", "trainer.max_m") == ["trainer.max_minutes="]
    assert bash("vgbdm", "train-era5", "model", "=", "g") == ["gbdm"]


def test_a_tab_completes_what_is_typed():
    """In a terminal, where bash breaks words and joins them by itself."""
    process, terminal = pty.fork()
    if not process:
        os.execvp("bash", ["bash", "--norc", "-i"])
    try:
        started = f'eval "$({shlex.quote(sys.executable)} {LAUNCH}/completion.py)"\n'
        os.write(terminal, started.encode())
        os.write(terminal, b"vgbdm train-system objective=aph\t")
        seen, end = b"", time.monotonic() + 600
        while b"objective=aphynity " not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)
        assert b"objective=aphynity " in seen
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)
