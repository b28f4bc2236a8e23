"""A component as users write them: an echo, and what its configuration says."""

from autobahn.twisted.wamp import ApplicationSession


class Echo(ApplicationSession):
    async def onJoin(self, details):
        extra = self.config.extra or {}
        prefix = extra.get("prefix", "com.example.echo")
        await self.register(lambda *args: [prefix, *args], prefix)
        self.publish(prefix + ".on_start", prefix)


class Failing(ApplicationSession):
    def __init__(self, config):
        raise RuntimeError("this component does not want to")
