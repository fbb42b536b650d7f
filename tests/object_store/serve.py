"""OpenStack Swift behind its S3 API, whole, in one process on loopback: the object server of the tests.

In: an empty folder for its rings and databases; objects stay in memory. Out: its address on stdout, then it serves
until its stdin ends. Run by the interpreter of an environment of its own (`make test` makes it from `swift.lock`).
Users, each as access key and secret: `test:owner` `owner-secret`, who owns every bucket; `test:guest` `guest-secret`,
who may nothing.
"""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # eventlet says that it is old

import eventlet  # noqa: E402

eventlet.monkey_patch()

from paste.deploy import loadapp  # noqa: E402
from swift.common import storage_policy, utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

BEHIND = {"account": "account", "container": "container", "object": "mem_object"}
CLUSTER = """
[swift-hash]
swift_hash_path_suffix = paritygate
[storage-policy:0]
name = one
default = yes
"""
# A cache that is not there is asked for and passed over.
PROXY = """
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth bulk slo copy proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_owner = owner-secret .admin
user_test_guest = guest-secret
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:copy]
use = egg:swift#copy
"""


def ring(name, port, folder):
    """Says where the accounts, the containers or the objects are: all of them behind one port."""
    builder = RingBuilder(4, 1, 1)
    place = {"ip": "127.0.0.1", "port": port, "device": "drive"}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, **place})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def serve(app, listener):
    return eventlet.spawn(eventlet.wsgi.server, listener, app, log_output=False)


def main():
    folder = Path(sys.argv[1]).resolve()
    (folder / "swift.conf").write_text(CLUSTER)
    (folder / "proxy.conf").write_text(PROXY)
    (folder / "drive").mkdir()
    utils.set_swift_dir(str(folder))
    utils.validate_hash_conf()
    storage_policy.reload_storage_policies()
    common = {"swift_dir": str(folder), "devices": str(folder), "mount_check": "false", "log_level": "ERROR"}
    listeners = {name: eventlet.listen(("127.0.0.1", 0)) for name in BEHIND}
    for name, listener in listeners.items():
        ring(name, listener.getsockname()[1], folder)
    for name, app in BEHIND.items():
        serve(loadapp(f"egg:swift#{app}", global_conf=common), listeners[name])
    front = eventlet.listen(("127.0.0.1", 0))
    serve(loadapp(f"config:{folder / 'proxy.conf'}", global_conf=common), front)
    sys.stdout.write(f"http://127.0.0.1:{front.getsockname()[1]}\n")
    sys.stdout.flush()
    eventlet.tpool.execute(sys.stdin.read)


main()
