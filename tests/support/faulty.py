"""A training that goes wrong as asked: ``faulty.py train_system "nan rank=1 steps=5,6" …``.

Faults, by ``;``: late rank= seconds=S (to come) · pause seconds=S (each step) after=N more=S (those
after step N: a busy test still comes in time) · gate path=P (no step before it is there) · hang
rank= steps= · nan … · huge … (the loss) · look seconds=S (each validation, after the first) ·
save seconds=S (in the middle of each).
"""

import os
import runpy
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "launch"))


def parse(text: str) -> dict[str, dict[str, str]]:
    faults = {}
    for part in filter(None, text.split(";")):
        name, *options = part.split()
        faults[name] = dict(option.split("=") for option in options)
    return faults


def install(faults: dict[str, dict[str, str]]) -> None:
    from vgbdm.training import checkpoint
    from vgbdm.training.loop import Trainer

    init, train_step, write = Trainer.__init__, Trainer.train_step, checkpoint.write_json

    def hits(trainer, name):
        fault = faults.get(name)
        return fault is not None and (
            trainer.backend.rank == int(fault["rank"])
            and str(trainer.step + 1) in fault["steps"].split(",")
        )

    def wait(trainer):
        pause, gate = faults.get("pause", {"seconds": 0}), faults.get("gate")
        late = trainer.step >= float(pause.get("after", "inf"))
        time.sleep(float(pause["more" if late else "seconds"]))
        while gate and not Path(gate["path"]).exists():
            time.sleep(0.05)

    def step(self, *args):
        wait(self)
        while hits(self, "hang"):
            time.sleep(1)
        return train_step(self, *args)

    def faulty_init(self, field, objective, **parts):
        def worse(*given):
            terms = objective(*given)
            factor = float("nan") if hits(self, "nan") else 1e6 if hits(self, "huge") else 1.0
            return {**terms, "loss": terms["loss"] * factor}

        init(self, field, worse, **parts)
        validate = self.validate

        def look(whole):
            if "look" in faults and self.step:
                (self.run_dir / "looking").touch()
                time.sleep(float(faults["look"]["seconds"]))
            return validate(whole)

        self.validate = look

    def slow_write(path, value):
        if "save" in faults and path.name == "state.json":
            (path.parents[2] / "saving").touch()
            time.sleep(float(faults["save"]["seconds"]))
        write(path, value)

    Trainer.__init__, Trainer.train_step, checkpoint.write_json = faulty_init, step, slow_write


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--local_rank", "--local-rank"))]
    script, faults, *rest = arguments
    sys.argv = [script, *rest]
    asked = parse(faults)
    install(asked)
    if "late" in asked and os.environ["RANK"] == asked["late"]["rank"]:
        time.sleep(float(asked["late"]["seconds"]))
    runpy.run_path(str(REPO / "launch" / f"{script}.py"), run_name="__main__")
