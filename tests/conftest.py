import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils"))

# A busy machine is slow, not wrong.
settings.register_profile("selvage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("selvage")
