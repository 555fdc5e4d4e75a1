import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "module_utils"), str(ROOT / "filter_plugins"), str(ROOT)]

# A busy machine is slow, not wrong, and what passed once passes again. To look for what nobody
# has thought of yet: pytest --hypothesis-profile=explore tests/unit
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.register_profile("selvage", patient, derandomize=True)
settings.register_profile("explore", patient, max_examples=2_000)
settings.load_profile("selvage")
