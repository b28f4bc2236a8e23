"""Autobahn|Python as a client that a test drives.

One JSON object a line on standard input is a command, one a line on standard
output an answer or an event:

    {"do": "join", "url", "realm", "serializer", and one of "key" (file), "ticket" (file) and "authid",
     "secret" (file, of WAMP-CRA) and "authid", or none of them: anonymous; ["ca" (file)]}
        -> {"joined": {"realm", "authid", "authrole"}} or {"left": {"reason", "message"}}
    {"do": "call", "id", "uri", "args", "kwargs", ["timeout" (s)]}
        -> {"id", "result"} or {"id", "error": {"uri", "args", "kwargs"}}
    {"do": "subscribe", "id", "topic", ["match"]}
        -> {"id", "result": true} or {"id", "error"}, then {"event": {"topic", "args", "kwargs"}} each
    {"do": "register", "id", "uri"}: a procedure that gives back its arguments
        -> {"id", "result": true} or {"id", "error"}
    {"do": "publish", "id", "topic", "args", "kwargs"}, acknowledged
        -> {"id", "result": true} or {"id", "error"}

A url is ws://, wss:// or, for rawsocket, rs://, rss://; below a Unix socket it is
ws+unix://SOCKET:PATH and rs+unix://SOCKET.

Keys and tickets come in files: an argument list is everybody's to read.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlsplit

from autobahn.asyncio.component import Component
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, CallResult, PublishOptions, SubscribeOptions


def plain(value):
    """What JSON can show, whatever the serializer made of it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def say(**message):
    sys.stdout.write(json.dumps(plain(message)) + "\n")
    sys.stdout.flush()


def failure(error):
    if isinstance(error, ApplicationError):
        return {"uri": error.error, "args": list(error.args), "kwargs": error.kwargs or {}}
    return {"uri": "python." + type(error).__name__, "args": [str(error)], "kwargs": {}}


async def obey(session, command):
    number = command.get("id")
    try:
        if command["do"] == "call":
            options = CallOptions(timeout=int(command["timeout"] * 1000)) if command.get("timeout") else None
            kwargs = dict(command.get("kwargs") or {})
            if options is not None:
                kwargs["options"] = options
            result = await session.call(command["uri"], *(command.get("args") or []), **kwargs)
            if isinstance(result, CallResult):
                result = result.results[0] if result.results else None
            say(id=number, result=result)
        elif command["do"] == "subscribe":
            topic = command["topic"]
            options = SubscribeOptions(match=command.get("match"), details=True)

            def on_event(*args, details=None, **kwargs):
                say(event={"topic": (details and details.topic) or topic, "args": args, "kwargs": kwargs})

            await session.subscribe(on_event, topic, options=options)
            say(id=number, result=True)
        elif command["do"] == "register":
            await session.register(lambda *args, **kwargs: CallResult(*args, **kwargs), command["uri"])
            say(id=number, result=True)
        elif command["do"] == "publish":
            options = PublishOptions(acknowledge=True)
            await session.publish(command["topic"], *(command.get("args") or []), options=options, **(command.get("kwargs") or {}))
            say(id=number, result=True)
        else:
            raise ValueError("unknown command " + command["do"])
    except Exception as error:  # every failure is an answer
        say(id=number, error=failure(error))


async def commands():
    """The lines of standard input, decoded."""
    reader = asyncio.StreamReader(limit=32 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def authentication(command):
    def read(name):
        with open(command[name], encoding="ascii") as f:
            return f.read().strip()

    if command.get("ticket"):
        return {"ticket": {"authid": command["authid"], "ticket": read("ticket")}}
    if command.get("secret"):
        return {"wampcra": {"authid": command["authid"], "secret": read("secret")}}
    if command.get("key"):
        return {"cryptosign": {"privkey": read("key"), "authid": command.get("authid") or "anyone"}}
    return {"anonymous": {}}


def transport(command):
    """The transport of a component, from the url."""
    scheme, rest = command["url"].split("://", 1)
    kind = "rawsocket" if scheme.startswith("rs") else "websocket"
    settings = {"type": kind, "url": command["url"], "max_retries": 0}
    if kind == "rawsocket":
        settings["serializer"] = command["serializer"]
    else:
        settings["serializers"] = [command["serializer"]]
        settings["options"] = {"open_handshake_timeout": 10000, "close_handshake_timeout": 1000}
    if scheme.endswith("+unix"):
        path, _, resource = rest.partition(":")
        settings["endpoint"] = {"type": "unix", "path": path}
        settings["url"] = "ws://localhost" + resource if kind == "websocket" else "rs://localhost"
        return settings
    address = urlsplit(command["url"])
    endpoint = {"type": "tcp", "host": address.hostname, "port": address.port}
    if scheme in ("wss", "rss"):
        endpoint["tls"] = ssl.create_default_context(cafile=command.get("ca"))
        settings["url"] = command["url"].replace("rss://", "rs://")
    settings["endpoint"] = endpoint
    return settings


async def main():
    lines = commands()
    first = await anext(lines)
    component = Component(
        realm=first.get("realm"),
        transports=[transport(first)],
        authentication=authentication(first),
    )
    tasks = set()

    @component.on_join
    async def joined(session, details):
        say(joined={"realm": details.realm, "authid": details.authid, "authrole": details.authrole})
        async for command in lines:
            task = asyncio.ensure_future(obey(session, command))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        session.leave()

    @component.on_leave
    def left(session, details):
        say(left={"reason": details.reason, "message": details.message})

    try:
        await component.start(loop=asyncio.get_running_loop())
    except Exception as error:
        say(left={"reason": "python." + type(error).__name__, "message": str(error)})


asyncio.run(main())
