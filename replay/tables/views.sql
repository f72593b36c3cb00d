-- Tables first: `_files_...` is what lies in the folder, `_no_...` an empty table that gives the
-- columns, in their order, whatever the files lack.

CREATE VIEW queries AS
SELECT * FROM _no_queries UNION ALL BY NAME SELECT * FROM _files_queries;

CREATE VIEW scores AS
SELECT * FROM _no_scores UNION ALL BY NAME SELECT * FROM _files_scores;

CREATE VIEW verdicts AS
SELECT * FROM _no_verdicts UNION ALL BY NAME SELECT * FROM _files_verdicts;

CREATE VIEW gaps AS
SELECT * FROM _no_gaps UNION ALL BY NAME SELECT * FROM _files_gaps;

-- Filled before it is read, as no statement of SQL's alone makes it: see `promises.py`.
CREATE TABLE _promises (
    model VARCHAR,
    profile VARCHAR,
    standing VARCHAR,
    begun TIMESTAMPTZ,
    ended TIMESTAMPTZ,
    since TIMESTAMPTZ,
    lives BIGINT,
    alarmed BIGINT,
    allowed DOUBLE,
    theft BIGINT,
    variants BIGINT,
    other_data BIGINT,
    load BIGINT
);

-- Ready views. The comment above one is its help: `name: what one row is`.

-- findings: one per finding, open or closed and as what, how opened, its worst moment and evidence
CREATE VIEW findings AS
WITH changes AS (
    SELECT *, CASE WHEN reason = 'analyst' THEN evidence END AS decision FROM verdicts
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY _topic, _partition, _offset) = 1
)
SELECT
    finding,
    account,
    model,
    detector,
    CASE last(activity ORDER BY query, last_time, activity = 'close')
        WHEN 'close' THEN 'closed'
        ELSE 'open'
    END AS status,
    any_value(kind) AS kind,
    last(severity ORDER BY query, last_time, activity = 'close') AS severity,
    min(queries) FILTER (activity = 'create') AS queries_to_detection,
    min(last_time) FILTER (activity = 'create') AS opened,
    max(last_time) AS changed,
    min(last_time) FILTER (activity = 'close') AS closed,
    last(reason ORDER BY query, last_time, activity = 'close') AS reason,
    any_value(disposition) AS disposition,
    any_value(json_extract_string(decision, '$.analyst')) AS analyst,
    any_value(json_extract_string(decision, '$.note')) AS note,
    max(statistic) FILTER (activity <> 'close') AS statistic,
    any_value(threshold) AS threshold,
    count(*) AS changes,
    -- Of one statistic: the latest words, as a declared habit may hold it no longer; the first
    -- evidence, as that verdict has none of the detector's.
    arg_max(summary, (statistic, query)) FILTER (activity <> 'close') AS summary,
    arg_max(evidence, (statistic, -query)) FILTER (activity <> 'close') AS evidence,
    any_value(profile) AS profile
FROM changes
GROUP BY finding, account, model, detector
ORDER BY opened, finding;

-- accounts: one per account and model, its standing, who agrees on it and how much it sent
CREATE VIEW accounts AS
WITH sent AS (
    SELECT account, model, max(query) + 1 AS queries, min("time") AS first, max("time") AS last
    FROM (
        SELECT account, model, query, "time" FROM queries
        UNION ALL SELECT account, model, query, "time" FROM scores
        UNION ALL SELECT account, model, query, first_time FROM verdicts
        UNION ALL SELECT account, model, query, last_time FROM verdicts
    )
    GROUP BY account, model
),
found AS (
    SELECT
        account,
        model,
        count(*) FILTER (status = 'open') AS open,
        count(*) AS findings,
        min(queries_to_detection) AS queries_to_detection,
        list_sort(list(DISTINCT detector)) AS detectors,
        coalesce(list_sort(list(DISTINCT detector) FILTER (status = 'open')), []) AS agreeing,
        coalesce(list_sort(list(DISTINCT disposition) FILTER (disposition IS NOT NULL)), [])
            AS dispositions
    FROM findings
    GROUP BY account, model
)
SELECT
    account,
    model,
    CASE WHEN coalesce(open, 0) > 0 THEN 'flagged' WHEN findings > 0 THEN 'closed' ELSE 'clear' END
        AS standing,
    queries,
    coalesce(findings, 0) AS findings,
    queries_to_detection,
    detectors,
    agreeing,
    dispositions,
    first,
    last
FROM sent LEFT JOIN found USING (account, model)
ORDER BY standing = 'flagged' DESC, findings DESC, account, model;

-- alarms_by_day: one per day, model and detector: findings opened and accounts concerned
CREATE VIEW alarms_by_day AS
SELECT
    CAST(opened AS DATE) AS day,
    model,
    detector,
    count(*) AS findings,
    count(DISTINCT account) AS accounts,
    median(queries_to_detection) AS median_queries_to_detection
FROM findings
GROUP BY ALL
ORDER BY day, model, detector;

-- queries_per_account: one per account and model: requests, classes asked for, pace
CREATE VIEW queries_per_account AS
SELECT
    account,
    model,
    count(*) AS queries,
    count(DISTINCT event) AS requests,
    count(DISTINCT label) AS labels,
    min("time") AS first,
    max("time") AS last,
    count(*) * 3600e6 / nullif(epoch_us(max("time")) - epoch_us(min("time")), 0)
        AS queries_per_hour
FROM queries
GROUP BY account, model
ORDER BY queries DESC, account, model;

-- peaks: one per account, model and detector: its largest statistic, for choosing thresholds
CREATE VIEW peaks AS
SELECT
    trace,
    kind,
    account,
    model,
    detector,
    count(*) AS queries,
    max(statistic) AS peak,
    arg_max(query, statistic) AS at_query,
    last(statistic ORDER BY query) AS latest
FROM scores
GROUP BY trace, kind, account, model, detector
ORDER BY peak DESC NULLS LAST, trace, account, model, detector;

-- evidence: one per finding and item of evidence, taken apart from JSON
CREATE VIEW evidence AS
SELECT findings.finding, account, model, detector, item.key AS item, item.value AS value
FROM findings, json_each(findings.evidence) AS item
ORDER BY opened, findings.finding, item.id;

-- promises: one per model, profile and period: did its promise hold, and what spoke most against it
CREATE VIEW promises AS
SELECT * FROM _promises ORDER BY model, begun NULLS FIRST, profile;
