"""An HTTPS server for tests for each pair CERTIFICATE:KEY; prints its ports, then the number of the server that got a request."""
import http.server, json, ssl, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        print(json.dumps({"server": self.server.number}), flush=True)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
ports = []
for number, pair in enumerate(sys.argv[1:]):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.number = number
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.split(":"))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    ports.append(server.server_address[1])
    threading.Thread(target=server.serve_forever).start()
print(json.dumps({"ports": ports}), flush=True)
