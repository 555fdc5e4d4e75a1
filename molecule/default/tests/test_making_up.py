"""What an interrupted run has left undone, and what others changed, the next one puts right."""

import pytest

from conftest import playbook
from labs import host, shell

NODE = "app1"
PACKAGE = "/usr/local/lib/selvage/selvage"
OPTIONS = "/etc/default/haproxy"
ORIGINS = "/etc/apt/apt.conf.d/50unattended-upgrades"
USER = "selvage-reconciler"
# What starts anew to take its files, and these.
FILES = {
    "demo-inventory": "/etc/systemd/system/demo-inventory.service",
    "haproxy": "/etc/systemd/system/haproxy.service.d/selvage.conf",
    "selvage-reconciler": "/etc/systemd/system/selvage-reconciler.service",
    "selvage-registrar": "/etc/systemd/system/selvage-registrar.service",
    "systemd-journald": "/etc/systemd/journald.conf.d/60-selvage.conf",
}


def processes():
    return {unit: shell(NODE, f"systemctl show -P MainPID {unit}").strip() for unit in FILES}


@pytest.fixture
def made_up_for():
    """A run after files were written that nobody took, on a node that others changed too."""
    before = processes()
    shell(NODE, f"touch {' '.join(FILES.values())}")
    shell(NODE, f"chmod 777 {PACKAGE}/registry && chown {USER}: {PACKAGE}/__init__.py")
    # Beside it is what the package had brought, from the first run.
    shell(NODE, f"rm -f {OPTIONS}.*~; echo '# theirs' > {OPTIONS}")
    shell(
        NODE, f"""echo 'Unattended-Upgrade::Origins-Pattern {{ "site=theirs"; }};' >> {ORIGINS}"""
    )
    # A login from before its user had its groups, by the name of one.
    shell(NODE, "cp /bin/sleep /run/sshd-selvage && chmod 755 /run/sshd-selvage")
    login = f"setpriv --reuid={USER} --regid={USER} --clear-groups /run/sshd-selvage infinity"
    shell(NODE, f"systemd-run --quiet --unit=sshd-selvage {login}")
    yield before, playbook("lab/site.yml", "--limit", NODE)
    shell(NODE, f"cp /usr/share/unattended-upgrades/50unattended-upgrades {ORIGINS}")
    shell(NODE, f"rm -f {OPTIONS}.*~ /run/sshd-selvage; systemctl stop sshd-selvage || true")


def test_the_next_run_makes_up_for_it(made_up_for):
    before, run = made_up_for
    assert run.rc == 0, run.output

    # Every program runs what its files say now.
    after = processes()
    assert [unit for unit in FILES if after[unit] == before[unit]] == [], run.output
    reloads = f"systemctl show -P NeedDaemonReload {' '.join(FILES)}"
    assert set(shell(NODE, reloads).split()) == {"no"}
    assert host(NODE).run("systemctl is-active sshd-selvage").rc != 0

    # Nobody else owns or writes our code.
    assert shell(NODE, f"stat -c '%U %a' {PACKAGE}/registry").strip() == "root 755"
    assert shell(NODE, f"stat -c '%U %a' {PACKAGE}/__init__.py").strip() == "root 644"

    # What was not ours was kept, once; what the operator wants installed goes on being installed.
    assert shell(NODE, f"cat {OPTIONS}.*~") == "# theirs\n"
    origins = shell(NODE, "apt-config dump --format='%v%n' Unattended-Upgrade::Origins-Pattern")
    assert "site=theirs" in origins and "-security," in origins
