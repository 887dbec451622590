"""The sandbox's own network: namespace, names, decisions, and the broker that carries what is allowed.

    agent ── socket calls ──► its network namespace: every address is local there, TPROXY to our listeners
                                   │ listeners handed out by init
    supervisor (record/) ── starts it at the first packet ──► broker process (``broker``): one asyncio loop
           dns        asks and answers; each name has its own synthetic address (``names``)
           tcp, udp   connections: decided (``decision``), tied to a name, carried byte for byte
           tls        handshakes on both sides, certificates of the run's own CA (``ca``, ``trust``)
           http1, http2, websocket   exchanges (``exchange``) between a client and an origin: the real one (``live``), or a recording
           (``recorded``)
           journal    what happened, into the run's second ring (``trace.network_events``)

The broker runs outside the sandbox with the rights of the user. Everything it reads is hostile. Nothing else in the sandbox has a way
out: when
the broker dies, the program's network is gone and the recording goes on.
"""
