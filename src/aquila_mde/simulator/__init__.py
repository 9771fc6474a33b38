"""A Defender for Endpoint tenant with state, on loopback.

It speaks what the collector meets at Microsoft: the token endpoint, the Defender endpoints and the
export files behind expiring links. It is deterministic from a seed, its clock can be moved, things
happen in it while time passes, and faults are played from a plan. Users rehearse with it
(``aquila-mde simulate``), tests are written against it.

Nothing here is shared with the layer that speaks to Microsoft: a misunderstanding there must not
be repeated here.
"""
