"""Deterministic simulation: the service's own code against a broker and a clock that are not real.

`clock` has the time and the processes' event loops; `broker` the topics, `group` the consumer
group, `network` what lies between; `client` and `coordinator` are aiokafka's consumer over them,
`faust`, `events` and `recovery` what Faust does, `machine` where a worker runs. `traffic` has what
is sent and what must come of it, `schedule` and `trouble` what goes wrong, `guard` and `checking`
what must hold nevertheless. `sinking` does the same with sinks, over `sink_client`, which is
kafka-python's consumer there, and `sink_checking` looks at their folder.
"""

from support.simulation.checking import simulate
from support.simulation.guard import WrongEndError
from support.simulation.sink_checking import simulate_sinks

__all__ = ["WrongEndError", "simulate", "simulate_sinks"]
