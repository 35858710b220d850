"""A mail server that prints each mail it takes as a line of JSON.

mail_server.py (plain | starttls | tls) [FOLDER]: the folder has certificate and key for TLS. Its port is the first line.
"""

import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# Clients that refuse a certificate are what some tests are about.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
warnings.simplefilter("ignore")


class Mailboxes:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("busy@"):
            return "450 4.2.0 the mailbox is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "body": mail.get_body(("plain",)).get_content(),
            "encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "user": session.auth_data and session.auth_data.login.decode(),
        }
        print(json.dumps(taken), flush=True)
        return "250 2.0.0 taken"


def log_in(server, session, envelope, mechanism, login):
    known = (login.login, login.password) == (b"kits", b"p@ss word")
    return AuthResult(success=known, handled=False, auth_data=login)


async def serve(mode, folder=None):
    context = None
    if mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")

    def protocol():
        starttls = mode == "starttls"
        return SMTP(
            Mailboxes(),
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=None if mode == "plain" else log_in,
            auth_required=mode != "plain",
            auth_require_tls=starttls,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve(*sys.argv[1:]))
