"""A mail server for tests: prints its port, then each mail, as lines of JSON. CERTIFICATE KEY strict|open"""
import asyncio, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({"to": envelope.rcpt_tos, "tls": session.ssl is not None, "user": str(session.auth_data),
                          "mail": envelope.content.decode("utf-8", "replace")}), flush=True)
        return "250 OK"
def login(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"burnwatch", b"s3cret-mail")
    return AuthResult(success=good, auth_data=data.login.decode() if good else None, handled=False)
async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    if sys.argv[3] == "strict":
        make = lambda: SMTP(Handler(), hostname="localhost", tls_context=context, require_starttls=True, authenticator=login, auth_required=True)
    else:
        make = lambda: SMTP(Handler(), hostname="localhost", tls_context=context)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()
asyncio.run(main())
