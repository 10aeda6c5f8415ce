"""The test service with the real SDK, in both wire formats."""

import asyncio
import time

import pytest
from ably import AblyException, AblyRealtime, AblyRest

from tests.support.ably_server import Fault

pytestmark = pytest.mark.one_database


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def binary(request):
    return request.param


def realtime(server, binary, key=None):
    return AblyRealtime(
        key or server.key,
        endpoint=f"127.0.0.1:{server.port}",
        tls=False,
        use_binary_protocol=binary,
        transport_params={"heartbeats": "true"},
        disconnected_retry_timeout=50,
    )


def rest(server, binary, key=None):
    options = {"endpoint": "127.0.0.1", "port": server.port, "tls": False, "use_token_auth": True}
    return AblyRest(key or server.key, use_binary_protocol=binary, **options)


async def within(seconds, awaitable):
    return await asyncio.wait_for(awaitable, seconds)


async def in_thread(function, *arguments, **fields):
    return await asyncio.to_thread(lambda: function(*arguments, **fields))


def test_realtime_client_connects_attaches_receives_and_closes(ably, binary):
    async def scenario():
        client, got = realtime(ably, binary), asyncio.Queue()
        channel = client.channels.get("blend")
        await within(5, channel.subscribe(got.put_nowait))
        assert {mode.name for mode in channel.modes} == {"SUBSCRIBE", "PUBLISH"}
        message_id = await in_thread(ably.publish, "blend", {"exec": "rebalance"})
        message = await within(5, got.get())
        assert (message.id, message.data, message.connection_id) == (message_id, {"exec": "rebalance"}, None)
        assert await within(5, client.connection.ping()) > 0
        await within(5, channel.publish("name", "text"))
        assert (await within(5, got.get())).data == "text"
        await within(5, channel.detach())
        await within(5, client.close())

    asyncio.run(scenario())


def test_realtime_client_resumes_after_a_drop_but_not_after_lost_continuity(ably, binary):
    async def scenario():
        client, got, attached = realtime(ably, binary), asyncio.Queue(), asyncio.Queue()
        channel = client.channels.get("blend")
        channel.on("attached", lambda change: attached.put_nowait(change.resumed))
        await within(5, channel.subscribe(lambda message: got.put_nowait(message.id)))
        assert await within(5, attached.get()) is False
        ids = [await in_thread(ably.publish, "blend", "0")]
        assert await within(5, got.get()) == ids[0]
        await in_thread(ably.inject, Fault.DROP)
        ids.append(await in_thread(ably.publish, "blend", "1"))
        assert await within(5, attached.get()) is True
        assert await within(5, got.get()) == ids[1]
        await in_thread(ably.inject, Fault.CONTINUITY_LOST)
        await in_thread(ably.publish, "blend", "2")
        assert await within(5, attached.get()) is False
        ids.append(await in_thread(ably.publish, "blend", "3"))
        assert await within(5, got.get()) == ids[2]
        await within(5, client.close())

    asyncio.run(scenario())


def test_history_is_returned_in_pages(ably, binary):
    async def scenario():
        ably.set(max_page_size=2)
        ids = [ably.publish("blend", str(number)) for number in range(5)]
        client = rest(ably, binary)
        page = await client.request("GET", "/channels/blend/messages", "5", params={"direction": "forwards"})
        found = []
        while page is not None:
            found += [item["id"] for item in page.items]
            page = await page.next()
        assert found == ids
        newest = await client.channels.get("blend").history(limit=1)
        assert [message.id for message in newest.items] == ids[-1:]
        assert abs(await client.time() / 1000 - time.time()) < 60
        await client.close()

    asyncio.run(scenario())


def test_refused_key_and_denied_channel_fail_with_their_codes(ably, binary):
    async def scenario():
        client = realtime(ably, binary, key="app.key:wrong")
        states = asyncio.Queue()
        client.connection.on("failed", states.put_nowait)
        assert (await within(5, states.get())).reason.code == 40101
        await within(5, client.close())
        async with rest(ably, binary, key="app.key:wrong") as stranger:
            with pytest.raises(AblyException, match="40101"):
                await stranger.channels.get("blend").history()
        await in_thread(ably.allow, {"*": ("subscribe",), "secret": ()})
        client = realtime(ably, binary)
        with pytest.raises(AblyException, match="40160"):
            await within(5, client.channels.get("secret").attach())
        await within(5, client.channels.get("blend").attach())
        async with rest(ably, binary) as subscriber:
            answer = await subscriber.request("GET", "/channels/blend/messages", "5")
        assert answer.status_code == 401 and answer.items[0]["error"]["code"] == 40160
        await within(5, client.close())

    asyncio.run(scenario())
