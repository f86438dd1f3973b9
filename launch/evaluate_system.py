"""Score every trained model below a folder under the one fair protocol; write table and report.

python launch/evaluate_system.py runs=outputs data.test=STORE out=DIR
"""

from ending import then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Scores, table, report."""
    from physics_systems.evaluating import evaluate

    evaluate(cfg)
    then("open the report in a browser")


if __name__ == "__main__":
    launch(main, "evaluate_system")
