"""Deterministic simulation: the worker's own code against a broker and a clock that are not real.

`clock` has the time and the processes' event loops; `broker` the topics, `group` the consumer
group, `network` what lies between; `client` is aiokafka's consumer over them, `faust` and
`recovery` what Faust does, `machine` where a worker runs. `traffic` has what is sent and what must
come of it, `schedule` what goes wrong, `guard` and `checking` what must hold nevertheless.
"""

from support.simulation.checking import simulate
from support.simulation.guard import WrongEndError

__all__ = ["WrongEndError", "simulate"]
