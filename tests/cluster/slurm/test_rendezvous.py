"""The address of a node, on networks that clusters have; needs no SLURM."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root for a network of its own"
)
# A network of its own: lo, and an interface without a default route if an address is given.
SCRIPT = """
import fcntl, os, socket, struct, sys
from inpaint_hpc.cluster.slurm.rendezvous import JobContext, node_address
from inpaint_hpc.errors import InpaintHpcError

name, address = sys.argv[1:]

def up(interface, address=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if address:
            packed = struct.pack("16sH2s4s8s", interface, socket.AF_INET, b"", socket.inet_aton(address), b"")
            fcntl.ioctl(control, 0x8916, packed)  # SIOCSIFADDR
        fcntl.ioctl(control, 0x8914, struct.pack("16sH", interface, 0x41))  # SIOCSIFFLAGS: up, running

def tap(interface):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH", interface, 0x1002))  # TUNSETIFF: tap, no packet information

up(b"lo")
if address:
    for interface, its in ((b"docker0", "172.17.0.1"), (b"hsn0", address)):
        tap(interface)
        up(interface, its)
try:
    print(node_address(JobContext("7", 0, 1, 2, 4, 0, name)))
except InpaintHpcError as error:
    print("Error:", error)
"""


def address_of(name, interface=""):
    done = subprocess.run(
        [shutil.which("unshare"), "-n", sys.executable, "-c", SCRIPT, name, interface],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": ""},  # no scontrol
    )
    if "/dev/net/tun" in done.stderr:
        pytest.skip("no /dev/net/tun")
    assert done.returncode == 0, done.stderr
    return done.stdout


# As Debian names a machine; a name that nobody knows; and one that has an address of IPv6 only.
@pytest.mark.parametrize("name", ["127.0.1.1", "n1.invalid", "::1"])
def test_without_a_default_route_the_interface_that_leaves_the_node_is_taken(name):
    assert address_of(name, "10.1.2.3") == "10.1.2.3\n"


@pytest.mark.parametrize("name", ["127.0.1.1", "n1.invalid", "::1"])
def test_a_node_without_any_address_says_so(name):
    said = address_of(name)
    assert said.startswith("Error: ") and "no IPv4 address" in said and "--nodes 1" in said and said.count("\n") == 1


def test_an_address_that_resolves_is_taken_as_it_is():
    assert address_of("127.0.0.12", "10.1.2.3") == "127.0.0.12\n"
