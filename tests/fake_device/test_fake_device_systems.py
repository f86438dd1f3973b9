"""Every system and objective on a fake device: training, validation, inference and ensembles."""

import fake_systems
import pytest
from fake_weather import names


@pytest.mark.parametrize("objective", names("objective"))
@pytest.mark.parametrize("system", names("system"))
def test_a_system_trains_validates_and_infers(fake, system, objective):
    facts = fake(fake_systems.train_and_infer, f"system={system}", f"objective={objective}")
    assert facts["reads"] == facts["moved"] == 1
    assert "loss" in facts["terms"]
    assert facts["validation_reads"] == 1
    assert facts["forecast_reads"] == 0
    assert facts["theta"] == any(name == "kl_theta" for name in facts["terms"])


@pytest.mark.parametrize("path", names("path"))
def test_a_path_trains(fake, path):
    assert fake(fake_systems.train, f"path={path}")["reads"] == 1


def test_a_network_that_sees_everything_trains(fake):
    options = ["model.residual_inputs=everything", "objective.places.intervals=after"]
    assert fake(fake_systems.train, *options)["reads"] == 1
