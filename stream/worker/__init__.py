"""The worker: queries topic to verdicts topic, with durable state, as an ordinary Faust app.

`serve` starts it, `app` is the Faust app. `worker` takes what is next from `batching`: records
wait in an `intake`, where each account has its turn (`shares`), or are held back (`backlog`) and
read again (`rereading`). Their accounts are opened in parts that fit (`opening`) and scored
(`scoring`) by the engine of the profile that rules them (`engines`, `rulings`, `profiles`). What
that leads to is made safe by `settling` and told by `counting`; `outbox` is what goes out,
`dead_letters` what cannot be read. `store` holds accounts, `account_rows` are what they are
written as, in the form that `row_codec` has; `expiry` deletes those that are forgotten.
`changelog` says what the rows' records do to the `local_stores`, `tenures` take partitions over,
`lives` say where reading goes on, `reader` and `consumer` are Faust's consumer made right,
`asking` asks a broker until it answers. `cluster` looks at the queries topic, `waiting` waits for
Kafka; `health` and `metrics` tell of it; `claims` are its port and folder.

The order of writes in `settling`, `consumer`, `outbox`, `account_rows` and `tenures` is what
survives kills: change it only with `tests/stream/worker/test_simulation.py` and `test_crash.py`
at hand.
"""
