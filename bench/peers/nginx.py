"""nginx from Debian's packages, unpacked without being installed, so that no service is started.

stream: passes octets on, knows no SMTP. mail: an SMTP proxy; whom it passes a client to is asked at RCPT, of the same
nginx over a Unix socket. Its buffers are 64 KiB: with those it ships (a page) it stalls 40 ms in every message. TLS
ends in the mail proxy. A worker process for each worker.
"""
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ..systems import Unavailable
from .base import FOLDER, Certificate, Peer, find, run, serving

HOME = FOLDER / "nginx"
BINARY = HOME / "usr/sbin/nginx"
PACKAGES = ("nginx", "libnginx-mod-stream", "libnginx-mod-mail")

HEAD = """\
load_module {modules}/ngx_{module}_module.so;
daemon off; worker_processes {workers}; worker_rlimit_nofile 20000;
pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 10000; }}
"""
STREAM = "stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{hop}; }} }}\n"
MAIL = """\
mail {{
    server_name mx.example.test;
    auth_http unix:{folder}/auth.sock:/auth;
    proxy_pass_error_message on;
    xclient off;
    smtp_client_buffer 64k; proxy_buffer 64k;
    server {{ listen 127.0.0.1:{port} backlog=4096; protocol smtp; smtp_auth none; {tls} }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen unix:{folder}/auth.sock;
        location = /auth {{
            add_header Auth-Status OK; add_header Auth-Server 127.0.0.1; add_header Auth-Port {hop};
            return 200 "";
        }}
    }}
}}
"""


class _Nginx(Peer):
    most_workers = 64
    module = body = ""

    def install(self, say):
        if BINARY.exists():
            return
        if not find("apt-get") or not find("dpkg"):
            raise Unavailable("taken from Debian's packages, and this is not Debian")
        say(f"unpacking {', '.join(PACKAGES)} into {HOME.relative_to(FOLDER.parent.parent)}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            try:
                run([find("apt-get"), "download", *PACKAGES], cwd=folder)
            except Unavailable:
                run([find("apt-get"), "update"])
                run([find("apt-get"), "download", *PACKAGES], cwd=folder)
            for archive in sorted(Path(folder).glob("*.deb")):
                run([find("dpkg"), "-x", str(archive), f"{folder}/root"])
            shutil.move(f"{folder}/root", HOME)

    def version(self):
        if not BINARY.exists():
            raise Unavailable("not installed (Debian's packages " + ", ".join(PACKAGES) + ")")
        return "nginx " + run([str(BINARY), "-v"]).strip().rpartition("/")[2]


    @contextmanager
    def start(self, mode, hop=None, workers=1):
        def command(port, folder):
            certificate, key = Certificate.files() if mode == "tls" else ("", "")
            tls = f"starttls on; ssl_certificate {certificate}; ssl_certificate_key {key};" if mode == "tls" else ""
            words = {"modules": HOME / "usr/lib/nginx/modules", "module": self.module, "workers": workers, "folder": folder,
                     "port": port, "hop": hop or 9, "tls": tls}
            folder.chmod(0o777)         # its workers are nobody's
            (folder / "nginx.conf").write_text((HEAD + self.body).format(**words), encoding="ascii")
            return [BINARY, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"]

        with serving(self.name, command) as system:
            yield system


class NginxStream(_Nginx):
    """Octets only."""

    name, words, module = "nginx stream", "passes octets, knows no SMTP", "stream"
    modes = frozenset(("proxy",))
    body = STREAM


class NginxMail(_Nginx):
    """Its mail proxy."""

    name, words, module = "nginx mail", "SMTP proxy in C, no policy", "mail"
    modes = frozenset(("proxy", "tls"))
    body = MAIL
