"""Units of three components of which no two are alike, so that a wrong one shows."""

import torch

from vgbdm.fields.grey_box import GreyBoxField, Trajectory

MEAN, STD = torch.tensor([1.0, -2.0, 5.0]), torch.tensor([2.0, 0.5, 3.0])
CHANGE, AREA = torch.tensor([0.3, 0.8, 1.7]), torch.tensor([0.5, 0.3, 0.2])
"""The rms change per step, and the share of the area: components stand for places as well."""


@GreyBoxField.register
class UnlikeUnits:
    """What a field says of frames and units, for states (..., 3)."""

    step_seconds = 3600.0
    memory = 3

    def standardise(self, states):
        return (states - MEAN) / STD

    def trajectory(self, batch, path):
        frames = self.standardise(batch.states)
        steps = torch.arange(frames.shape[1]).double().expand(len(frames), -1)
        clock = batch.times.double()[:, None] + self.step_seconds * (steps - (self.memory - 1))
        return Trajectory(path.nodes(frames, steps) if path else frames[:, :, None], steps, clock)

    def along(self, path, ends, length, s, noise=None):
        return self.at(path(*ends, length, s, noise))

    def at(self, point):
        return point.state, point.velocity

    def observe(self, x):
        return x

    def from_frames(self, frames):
        return frames

    def from_changes(self, values):
        return values * CHANGE

    def rate_units(self, values):
        return values / CHANGE

    state_units = rate_units

    def average(self, values):
        return (values * AREA).sum(-1)

    def mean_square_rate(self, values, matches):
        return self.average((values / CHANGE).square()).unflatten(0, (-1, matches)).mean(1)

    def mean_square_state(self, values):
        return self.average((values / CHANGE).square()).mean(1)
