"""A mail server that keeps what it gets: it appends one line of JSON per message to a file."""

import argparse
import asyncio
import email
import email.policy
import json
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Sink:
    def __init__(self, mails, refusals):
        self.mails = mails
        self.refusals = refusals
        self.refused = 0

    async def handle_DATA(self, server, session, envelope):
        refusals = self.refusals.read_text().splitlines()
        if self.refused < len(refusals):
            self.refused += 1
            refusal = refusals[self.refused - 1]
            if not refusal.startswith("wait "):
                return refusal
            await asyncio.sleep(float(refusal.removeprefix("wait ")))
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        mail = {
            "mail_from": envelope.mail_from,
            "rcpt_tos": envelope.rcpt_tos,
            "hello": session.host_name,
            "client_port": session.peer[1],
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "login": session.auth_data,
            "subject": message["subject"] or "",
            "text": body(message, "plain"),
            "html": body(message, "html"),
            "raw": envelope.original_content.decode("utf-8", "replace"),
        }
        with self.mails.open("a") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 2.0.0 kept"


def body(message, kind):
    part = message.get_body(preferencelist=(kind,))
    return part.get_content() if part else ""


def authenticator(user, password):
    def check(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=right, auth_data=user if right else None, handled=right)

    return check


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["plain", "starttls", "tls"], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--mails", type=pathlib.Path, required=True)
    parser.add_argument("--refusals", type=pathlib.Path, required=True)
    parser.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"))
    options = parser.parse_args()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    sink = Sink(options.mails, options.refusals)
    starttls = options.mode == "starttls"

    def connection():
        return SMTP(
            sink,
            hostname="localhost",
            enable_SMTPUTF8=True,
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticator(*options.login) if options.login else None,
            auth_required=bool(options.login),
            auth_require_tls=starttls,
        )

    server = await asyncio.get_running_loop().create_server(
        connection, "127.0.0.1", options.port, ssl=context if options.mode == "tls" else None
    )
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main())
