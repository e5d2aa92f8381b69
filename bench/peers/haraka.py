"""Haraka from npm, as it ships, with the plugins that the work needs and no others.

Taking and dropping: a plugin of one line that accepts every recipient, and its own queue/discard. Proxy: its own
queue/smtp_proxy (it asks the next hop at MAIL, RCPT and DATA, and sends the message when it has all of it). Refusing: a
plugin of one line. TLS: its own tls plugin. Log level warn. One process for one worker (`nodes=0`: cheaper than master
and worker), `nodes=N` for more. TCP_NODELAY is as it ships: not set.
"""
import json
from contextlib import contextmanager

from ..systems import Unavailable
from .base import FOLDER, Certificate, Peer, find, run, serving

WANTED = "Haraka@>=3.3 <4"
HOME = FOLDER / "haraka"
PACKAGE = HOME / "node_modules/Haraka"
PLUGINS = {
    "accept": "exports.hook_rcpt = (next) => next(OK)\n",
    "refuse-connect": "exports.hook_connect = (next) => next(DENYDISCONNECT, 'not you')\n",
    "refuse-rcpt": "exports.hook_rcpt = (next) => next(DENY, 'no such user')\n",
    "refuse-data": "exports.hook_rcpt = (next) => next(OK)\nexports.hook_data_post = (next) => next(DENY, 'not this')\n",
}
USES = {"discard": ["accept", "queue/discard"], "proxy": ["accept", "queue/smtp_proxy"],
        "tls": ["tls", "accept", "queue/discard"],
        "refuse-connect": ["refuse-connect"], "refuse-rcpt": ["refuse-rcpt"], "refuse-data": ["refuse-data"]}


class Haraka(Peer):
    """A mail server of JavaScript plugins on Node.js."""

    name, words = "Haraka", "JavaScript plugins, on Node.js"
    modes = frozenset(USES)
    most_workers = 64

    def install(self, say):
        if PACKAGE.exists():
            return
        npm = find("npm")
        if not npm or not find("node"):
            raise Unavailable("node and npm are needed: Debian's packages nodejs and npm")
        say(f"installing {WANTED} into {HOME.relative_to(FOLDER.parent.parent)}")
        HOME.mkdir(parents=True, exist_ok=True)
        # Its optional packages are for other plugins; some of them must be compiled.
        run([npm, "install", "--prefix", str(HOME), "--no-save", "--no-audit", "--no-fund", "--omit=dev", "--omit=optional",
             "--ignore-scripts", WANTED])

    def version(self):
        node = find("node")
        if not PACKAGE.exists() or not node:
            raise Unavailable("not installed (npm package Haraka)")
        package = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))
        return f"Haraka {package['version']}, Node.js {run([node, '--version']).strip().lstrip('v')}"

    @contextmanager
    def start(self, mode, hop=None, workers=1):
        def command(port, folder):
            run([find("node"), str(PACKAGE / "bin/haraka"), "-i", str(folder)])     # its own configuration, then what differs
            config = folder / "config"
            (folder / "plugins").mkdir(exist_ok=True)
            for name, text in PLUGINS.items():
                (folder / f"plugins/{name}.js").write_text(text, encoding="ascii")
            for name, text in {
                    "me": "mx.example.test", "plugins": "\n".join(USES[mode]), "host_list": "example.test",
                    "log.ini": "[main]\nlevel=warn", "databytes": "51200000",
                    "smtp.ini": f"listen=127.0.0.1:{port}\nnodes={workers if workers > 1 else 0}",
                    "smtp_proxy.ini": f"host=127.0.0.1\nport={hop}\nenable_outbound=false"}.items():
                (config / name).write_text(text + "\n", encoding="ascii")
            if mode == "tls":
                for name, file in zip(("tls_cert.pem", "tls_key.pem"), Certificate.files(), strict=True):
                    (config / name).write_bytes(file.read_bytes())
            return [find("node"), PACKAGE / "bin/haraka", "-c", folder]

        with serving(self.name, command, {"YES_REALLY_DO_DISCARD": "1"}) as system:
            yield system
