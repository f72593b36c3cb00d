"""The worker: queries topic to verdicts topic, with durable state, as an ordinary Faust app.

`serve` starts it, `app` is the Faust app, `worker` collects micro-batches (`batching`), opens their
accounts in parts that fit (`opening`) and has them scored (`scoring`); `store` holds accounts,
`account_rows` are what they are written as, `outbox` what goes out, `dead_letters` what cannot be
read. `changelog` says what the rows' records do to the `local_stores`, `tenures` take partitions
over, `lives` say where reading goes on, `reader` and `consumer` are Faust's consumer made right.
`cluster` looks at the queries topic, `waiting` waits for Kafka; `health` and `metrics` tell of it;
`claims` are its port and folder.

The order of writes in `batching`, `consumer`, `outbox`, `account_rows` and `tenures` is what
survives kills: change it only with `tests/stream/worker/test_crash.py` and `test_changelog.py` at
hand.
"""
