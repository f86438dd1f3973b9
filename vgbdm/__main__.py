"""``python -m vgbdm``: see `vgbdm.commands`."""

from vgbdm.commands import main

if __name__ == "__main__":
    main()
