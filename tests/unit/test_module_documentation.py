"""The documentation of each module says what its argument spec says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments
from ansible_modules import ROOT, load

from selvage.healthcheck import Check

fragment_loader.add_directory(str(ROOT / "doc_fragments"))
MODULES = sorted(path.stem for path in (Path(__file__).parents[2] / "library").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_documentation_and_argument_spec_agree(name):
    module = load(name)
    documented = yaml.safe_load(module.DOCUMENTATION)
    add_fragments(documented, module.__file__, fragment_loader, is_module=True)
    assert documented["module"] == name
    assert said(documented["options"]) == meant(argument_spec(module))
    assert isinstance(yaml.safe_load(module.EXAMPLES), list)
    assert all(entry["description"] for entry in yaml.safe_load(module.RETURN).values())


def test_whoever_takes_a_catalogue_takes_all_that_a_check_may_say():
    """The engine's parser, the module, and the role that hands the catalogue to the daemon."""
    role = yaml.safe_load((ROOT / "roles/reconciler/meta/argument_specs.yml").read_text())
    options = role["argument_specs"]["main"]["options"]["reconciler_services"]["options"]
    known = {field.name.removesuffix("_ms") for field in dataclasses.fields(Check)}
    assert {*load("haproxy_backends").CHECK} == known
    assert {*options["check"]["options"]} == known


@pytest.mark.parametrize("name", MODULES)
def test_every_password_is_kept_out_of_logs(name):
    assert all(
        options.get("no_log") is True
        for path, options in leaves(argument_spec(load(name)))
        if "password" in path
    )


def argument_spec(module):
    """What the module's main function tells Ansible."""

    class Told(Exception):
        pass

    def tell(*, argument_spec, **_):
        raise Told(argument_spec)

    module.AnsibleModule = tell
    with pytest.raises(Told) as told:
        module.main()
    return told.value.args[0]


def said(options):
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": said(option.get("suboptions", {})),
        }
        for name, option in options.items()
    }


def meant(spec):
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": meant(option.get("options", {})),
        }
        for name, option in spec.items()
    }


def leaves(spec):
    for name, option in spec.items():
        yield name, option
        yield from leaves(option.get("options", {}))
