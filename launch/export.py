"""Write a trained model by itself: one file of weights, and how it is built, for vgbdm.load.

python launch/export.py run_dir=RUN out=MODEL [checkpoint=last]
python -c "import vgbdm; model = vgbdm.load('MODEL')"
"""

from ending import then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Write, and say where it is."""
    from vgbdm.exporting import export

    print(f"model: {export(cfg.run_dir, cfg.out, cfg.checkpoint)}")
    then(f"python -c 'import vgbdm; model = vgbdm.load(\"{cfg.out}\")'")


if __name__ == "__main__":
    launch(main, "export")
