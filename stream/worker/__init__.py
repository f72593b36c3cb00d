"""The worker: queries topic to verdicts topic, with durable state, as an ordinary Faust app.

`serve` starts it, `app` is the Faust app, `worker` collects micro-batches (`batching`) for
`scoring`; `store` keeps accounts as rows, `outbox` what goes out, `dead_letters` what cannot be
read; `changelog` says what the rows' records do to the `local_stores`, `tenures` take partitions
over, `lives` say where reading goes on; `health` and `metrics` tell of it; `claims` are its port
and folder. The order of writes in `batching`, `consumer`, `outbox`, `store` and `tenures` is what
survives kills: change it only with `tests/stream/worker/test_crash.py` and `test_changelog.py` at
hand.
"""
