#!/usr/bin/python3
"""A mail or web server that keeps what it is sent: one line of JSON for each message, appended to a file.

    catch.py smtp ADDRESS PORT FILE [--tls | --starttls] [--certificate PEM --key PEM] [--login USER:PASSWORD] [--unknown RECIPIENT]
    catch.py http ADDRESS PORT FILE [--tls] [--certificate PEM --key PEM] [--signed KEY] [--status FILE]

Attempts to log in are kept too, without the password. The status of answers is read from a file for each request, so that
it can change. Runs until it is killed.
"""

import argparse
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import os
import ssl
import threading
import time


def keep(path, record):
    """Whole lines only: readers look at any time."""
    line = json.dumps(record | {"time": time.time()}) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, line.encode())
    os.close(file)


def tls_context(options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    return context


def smtp(options):
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    class Handler:
        async def handle_RCPT(self, _server, _session, envelope, address, _options):
            if address == options.unknown:
                return "550 no such mailbox"
            envelope.rcpt_tos.append(address)
            return "250 known"

        async def handle_DATA(self, server, session, envelope):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            keep(options.file, {
                "from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": message["Subject"],
                "text": message.get_content(), "headers": {name: str(value) for name, value in message.items()},
                "tls": server.transport.get_extra_info("ssl_object") is not None, "login": session.authenticated, "peer": session.peer[0],
            })
            return "250 kept"

    def authenticate(_server, _session, _envelope, _mechanism, data):
        good = f"{data.login.decode()}:{data.password.decode()}" == options.login
        keep(options.file, {"attempt": data.login.decode(), "good": good})
        return AuthResult(success=good, handled=False)

    settings = {}
    if options.starttls:
        settings |= {"tls_context": tls_context(options), "require_starttls": True}
    if options.login:
        settings |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": options.starttls}
    context = tls_context(options) if options.tls else None
    Controller(Handler(), hostname=options.address, port=options.port, ssl_context=context, **settings).start()


def web(options):
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            signed = None
            if options.signed:
                parts = dict(part.split("=", 1) for part in self.headers.get("X-Mwan-Signature", "=").split(","))
                wanted = hmac.new(options.signed.encode(), f"{parts.get('t')}.{body}".encode(), hashlib.sha256)
                signed = hmac.compare_digest(wanted.hexdigest(), parts.get("v1", ""))
            try:
                with open(options.status, encoding="ascii") as file:
                    status = int(file.read())
            except (TypeError, OSError):
                status = 200
            keep(options.file, {
                "method": self.command, "path": self.path, "headers": dict(self.headers), "body": json.loads(body),
                "signed": signed, "status": status, "peer": self.client_address[0],
            })
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"heard")

        do_POST = do_PUT = answer

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        # getfqdn, which the class does otherwise, asks name servers.
        def server_bind(self):
            http.server.socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = self.server_address[:2]

    server = Server((options.address, options.port), Handler)
    if options.tls:
        server.socket = tls_context(options).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["smtp", "http"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("file")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--starttls", action="store_true")
    for name in ["certificate", "key", "login", "unknown", "signed", "status"]:
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    (smtp if options.kind == "smtp" else web)(options)
    # Who waits for the server waits for the file.
    os.close(os.open(options.file, os.O_WRONLY | os.O_CREAT, 0o644))
    threading.Event().wait()


main()
