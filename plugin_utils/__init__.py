"""What plugins share. It runs on the controller alone, beside the daemons' own code."""

import sys
from pathlib import Path

# Ansible's search path for module_utils serves modules alone.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))
