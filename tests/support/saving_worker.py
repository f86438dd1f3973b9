"""One rank of the smallest training, for torchrun: ``saving_worker.py RUN FULL_FROM RANK``.

The disk is full for that rank from step FULL_FROM on. Leaves RUN-rankR.json: where it began, how it
ended.
"""

import json
import os
import sys
from pathlib import Path

from tiny import make_trainer

from vgbdm.training import checkpoint
from vgbdm.training.backends.torch import DDPBackend


def main(run_dir: Path, full_from: int, of: int) -> None:
    backend, write = DDPBackend(precision="fp32", clip=1.0, accumulation=1), checkpoint.write_part

    def full(folder, part):
        write(folder, part)
        step = int(folder.name.split(".")[1].removeprefix("step-"))
        if step >= full_from and part.rank == of:
            (folder / f"part-{of:05d}.json").unlink()
            raise OSError(28, "No space left on device")

    checkpoint.write_part = full
    trainer = make_trainer(run_dir, backend, save_minutes=1e-9)
    began, resume, due = [0], trainer.resume, trainer.saver.is_due
    # every step saves, however slow the machine is; rank 0 cannot end before a rank that failed
    trainer.saver.is_due = lambda: (trainer.saver.writer.join(10), due())[1]

    def watched(folder):
        resume(folder)
        began.append(trainer.step)

    trainer.resume, error = watched, ""
    try:
        trainer.fit()
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    result = {"began": began[-1], "ended": trainer.step, "error": error, "best": trainer.best}
    run_dir.with_name(f"{run_dir.name}-rank{backend.rank}.json").write_text(json.dumps(result))
    os._exit(0)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
