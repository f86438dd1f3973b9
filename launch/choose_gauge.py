r"""Choose λ from runs that differ in it: the largest whose validation error is near that of λ = 0.

python launch/train_system.py --multirun system=rlc system.presets.gauge=0,1e-3,1e-2,3e-2 seed=1,2 \
    data.train=TRAIN data.val=VAL trainer.total_steps=2000
python launch/choose_gauge.py runs=outputs
"""

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """A line per λ, and the choice."""
    from physics_systems.evaluation.gauge_choice import choose_gauge

    chosen, table = choose_gauge(cfg.runs, cfg.tolerance)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}", line_width=80))
    print(f"λ = {chosen:g}")
    given = ("system=SYSTEM", "data.train=STORE", "data.val=STORE", "run_dir=RUN")
    then(command("train_system", *given, f"system.presets.gauge={chosen:g}"))


if __name__ == "__main__":
    launch(main, "choose_gauge")
