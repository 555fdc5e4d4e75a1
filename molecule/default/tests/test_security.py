"""Who has the reconciler's rights, as a thief of the controller's key has, does not take a host."""

import re

import pytest

from conftest import SIDECARS, answering, playbook
from labs import host, printed, shell, wait_for

NODE = "edge1"
USER = "selvage-reconciler"
HOME = "/var/lib/selvage-reconciler"
SERVICES = "/etc/haproxy/services"
MASTER = "/run/haproxy/master.sock"
# One that needs a capability.
PORT = 999
# What a script finds out when HAProxy loads it, as a page.
SCRIPT = f"""
local found = {{}}
local function note(name, value) found[#found + 1] = name .. ": " .. value end
local function attempt(name, path, mode)
  local file, problem = io.open(path, mode)
  note(name, file and "done" or problem:match("[^:]+$"):match("^ *(.*)"))
  if file then file:close() end
end
for line in io.lines("/proc/self/status") do
  local name, value = line:match("^(%w+):%s*(%w+)")
  if name == "Uid" or name == "CapBnd" or name == "NoNewPrivs" then note(name, value) end
end
attempt("read shadow", "/etc/shadow", "r")
attempt("read the registry's password", "/etc/selvage/reconciler.json", "r")
attempt("write /etc", "/etc/selvage-was-here", "w")
attempt("write /usr", "/usr/local/bin/selvage-was-here", "w")
attempt("write the reconciler's file", "{SERVICES}/services.cfg", "a")
note("ran chown", tostring(os.execute("chown root:root {SERVICES}/attack.lua 2>/dev/null")))
local text = table.concat(found, "\\n") .. "\\n"
core.register_service("loot", "http", function(applet)
  applet:set_status(200)
  applet:add_header("content-length", #text)
  applet:start_response()
  applet:send(text)
end)
"""


def thief(command, text=""):
    """What a command prints that runs with the reconciler's rights, and gets this text."""
    return shell(NODE, f"cd / && runuser -u {USER} -- sh -c '{command}' <<'END'\n{text}END")


def processes():
    """The master's reloads so far, and how many of the last ones failed."""
    answer = printed(NODE, f"echo 'show proc' | socat -t 10 - UNIX-CONNECT:{MASTER}")
    return re.findall(r"^\d+ +master +(\d+) +\[failed: (\d+)\]", answer, re.MULTILINE)


def loaded():
    """Load what stands in the files, through the master's socket; whether HAProxy took it."""
    before = wait_for(processes, "the master")
    thief(f"socat -t 10 - UNIX-CONNECT:{MASTER}", "reload\n")
    wait_for(lambda: processes() not in ([], before), "the reload")
    return processes()[0][1] == "0"


@pytest.fixture
def stolen():
    """The reconciler's rights on a node where neither daemon nor cron puts anything right."""
    shell("ctl1", "systemctl stop cron")
    wait_for(lambda: host("ctl1").run("pgrep -f '[r]econcile.yml'").rc != 0, "the last run")
    shell(NODE, f"systemctl stop selvage-reconciler; cp -p {SERVICES}/services.cfg /root/")
    yield
    shell(NODE, f"rm -f {SERVICES}/*; cp -p /root/services.cfg {SERVICES}/")
    assert loaded()
    shell(NODE, "systemctl start selvage-reconciler")
    shell("ctl1", "systemctl start cron")


def serve(directives, service):
    """Put a service with these lines into the services file, beside the others."""
    lines = f"{directives}\nlisten loot\n    bind 127.0.0.1:{PORT}\n    http-request {service}\n"
    thief(f"cat >> {SERVICES}/services.cfg", lines)


@pytest.mark.parametrize("name", SIDECARS)
def test_haproxy_has_few_rights(name):
    said = shell(name, "systemd-analyze security --no-pager haproxy.service | tail -n 1")
    print(said)
    assert float(re.search(r"level for haproxy.service: ([0-9.]+)", said)[1]) < 4
    users = shell(name, "ps -o user= -C haproxy").split()
    assert set(users) == {"haproxy"}


def test_a_script_in_the_services_file_gets_nothing(stolen):
    thief(f"cat > {SERVICES}/attack.lua", SCRIPT)
    serve(f"global\n    lua-load {SERVICES}/attack.lua", "use-service lua.loot")
    assert loaded()
    page = wait_for(lambda: printed(NODE, f"curl -s 127.0.0.1:{PORT}"), "the script's page")
    print(page)
    found = dict(line.split(": ", 1) for line in page.splitlines())
    assert found == {
        "Uid": shell(NODE, "id -u haproxy").strip(),
        "CapBnd": "0000000000000400",  # CAP_NET_BIND_SERVICE
        "NoNewPrivs": "1",
        "read shadow": "Permission denied",
        "read the registry's password": "Permission denied",
        "write /etc": "Read-only file system",
        "write /usr": "Read-only file system",
        "write the reconciler's file": "Permission denied",
        "ran chown": "nil",
    }


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/selvage/reconciler.json"])
def test_a_file_that_haproxy_may_not_read_is_not_served(stolen, path):
    serve("", f"return status 200 content-type text/plain file {path}")
    taken = loaded()
    page = printed(NODE, f"curl -s 127.0.0.1:{PORT}")
    print(page)
    assert page == ""
    assert not taken
    # What ran goes on.
    assert answering(NODE) == {"app1", "app2"}


def test_root_looks_without_running_what_the_thief_wrote(stolen):
    """`selvage explain` asks HAProxy what it has against a reload that is due."""
    script = f"{SERVICES}/attack.lua"
    text = 'local id = io.popen("id -un"); io.open("/tmp/looked-by-" .. id:read(), "w"):close()'
    thief(f"cat > {script}", text + "\n")
    # Other options than those that run, so that a reload is due; and a section that is nobody's.
    file = f"{SERVICES}/services.cfg"
    thief(f'sed -i "s/str(.*)/str(0)/" {file}')
    assert loaded()
    thief(
        f"cat >> {file}",
        f"\nlisten loot\n    bind 127.0.0.1:{PORT}\n    global\n    lua-load {script}\n",
    )
    try:
        # From root's own folder, where the reconciler's user has no business.
        assert "pending: a reload" in shell(NODE, "cd /root && selvage explain inventory")
        looked = shell(NODE, "cd /tmp && ls -d looked-by-*").split()
        print(looked)
        assert looked == [f"looked-by-{USER}"]
    finally:
        shell(NODE, "rm -f /tmp/looked-by-*")


CERTIFICATE = "/etc/haproxy/fabric.pem"


@pytest.fixture
def certificate():
    """HAProxy's own configuration, written by root, with a certificate that not everyone reads."""
    frontend = f"frontend tls\n    bind 127.0.0.1:3443 ssl crt {CERTIFICATE}\n"
    shell(
        NODE,
        "cp -p /etc/haproxy/haproxy.cfg /root/; umask 077; cd /root;"
        " openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=fabric -keyout key -out crt 2>&1;"
        f" cat crt key > fabric.pem; install -o root -g haproxy -m 640 fabric.pem {CERTIFICATE};"
        f" echo '{frontend}    http-request return status 200' >> /etc/haproxy/haproxy.cfg",
    )
    yield
    shell(NODE, f"cp -p /root/haproxy.cfg /etc/haproxy/; rm {CERTIFICATE} /root/*.pem")
    shell(NODE, "systemctl reload haproxy")


def test_a_certificate_of_haproxys_passes_the_reconcilers_check(certificate):
    assert loaded()
    shell(
        NODE,
        "curl --silent --fail --cacert /root/crt --resolve fabric:3443:127.0.0.1 https://fabric:3443/",
    )
    command = f"cat {SERVICES}/services.cfg | haproxy -c -f /etc/haproxy/haproxy.cfg -f /dev/stdin"
    thief(command)
    # The daemon's unit has the same rights; a new check path needs a check and a reload.
    group = shell(NODE, "getent group haproxy").split(":")[2]
    groups = "grep Groups /proc/$(systemctl show -P MainPID selvage-reconciler)/status"
    assert group in shell(NODE, groups).split()
    assert host(NODE).run(f"runuser -u nobody -- cat {CERTIFICATE}").rc != 0


@pytest.fixture
def victim():
    """A folder and a file of root's; how they are, to the time of their last change."""
    shell(NODE, "install -d -m 700 /srv/victim; install -m 600 /dev/null /srv/victim/file")
    yield lambda: shell(NODE, "find /srv/victim -printf '%p %u:%g %m %C@\\n'")
    shell(NODE, "rm -r /srv/victim")


@pytest.fixture
def aside():
    """A way to put files of the user's home aside, until the test is over."""
    names = []

    def put(*some):
        for name in some:
            thief(f"cd {HOME}; if test -e {name}; then mv {name} {name}.was; fi")
            names.append(name)

    yield put
    for name in names:
        thief(f"cd {HOME}; rm -rf {name}; if test -e {name}.was; then mv {name}.was {name}; fi")


def test_the_roles_follow_no_links_of_the_reconcilers(stolen, victim, aside):
    before = victim()
    aside(".ansible", ".ssh")
    thief(f"cd {HOME}; mkdir .ansible; ln -s /srv/victim .ansible/tmp; ln -s /srv/victim .ssh")
    thief(f"ln -sf /srv/victim/file {SERVICES}/services.cfg")
    # Whether it succeeds is not the question.
    print(playbook("site.yml", "--tags", "haproxy,schedule", "--limit", f"{NODE},ctl1").output)
    assert victim() == before


def test_who_is_let_in_lets_nobody_else_in(stolen, aside):
    aside(".ssh")
    thief(
        f"mkdir -m 700 {HOME}/.ssh; cd {HOME}/.ssh;"
        ' ssh-keygen -q -t ed25519 -N "" -f key; cp key.pub authorized_keys'
    )
    login = (
        f"ssh -i {HOME}/.ssh/key -o IdentitiesOnly=yes -o BatchMode=yes"
        f" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {USER}@127.0.0.1 id"
    )
    said = shell(NODE, f"runuser -u {USER} -- {login} 2>&1 || true")
    print(said)
    assert "Permission denied (publickey" in said
