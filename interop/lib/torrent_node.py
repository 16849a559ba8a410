"""A libtorrent DHT node that obeys words on standard input, and answers each with one line."""

import sys
import time

import libtorrent as lt

WAIT = 3
ATTEMPTS = 8

first, *rest = sys.argv[1:]
session = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": ",".join([first, *rest]),
    # All nodes of this network have one address, which would be banned for asking so much.
    "dht_block_ratelimit": 1000000,
    "dht_upload_rate_limit": 1000000,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification,
})
for entry in [first, *rest]:
    host, port = entry.rsplit(":", 1)
    session.add_dht_node((host, int(port)))
session.apply_settings({"enable_dht": True})


def wait_for(kind, accept=lambda alert: True):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, kind) and accept(alert):
                return alert
    return None


def digest(text):
    return lt.sha1_hash(bytes.fromhex(text))


def say(text):
    print(text, flush=True)


wait_for(lt.dht_bootstrap_alert)
say("ready")
for line in sys.stdin:
    word, *arguments = line.split()
    if word == "announce":
        session.dht_announce(digest(arguments[0]), int(arguments[1]), 0)
        say("done")
    elif word == "lookup":
        wanted = arguments[0]
        found = None
        for _ in range(ATTEMPTS):
            session.dht_get_peers(digest(wanted))
            reply = wait_for(lt.dht_get_peers_reply_alert, lambda alert: alert.peers())
            if reply:
                found = reply.peers()[0]
                break
        say(f"{found[0]}:{found[1]}" if found else "nobody")
    elif word == "put":
        for _ in range(ATTEMPTS):
            target = session.dht_put_immutable_item(arguments[0].encode())
            alert = wait_for(lt.dht_put_alert)
            if alert and alert.num_success > 0:
                break
        say(str(target))
    elif word == "get":
        item = None
        for _ in range(ATTEMPTS):
            session.dht_get_immutable_item(digest(arguments[0]))
            alert = wait_for(lt.dht_immutable_item_alert)
            item = alert.item if alert else None
            if isinstance(item, dict):
                item = item.get("value")
            if item:
                break
        say(item.decode() if isinstance(item, bytes) else str(item))
