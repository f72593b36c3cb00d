-- Every threshold of every detector, from the scores of an evaluation.
--
-- `_detectors` holds the profile's detectors (`detector`, `place`, and its `threshold`, which may be
-- null); `getvariable('chunk')` is the number of queries in a chunk.
--
-- A **curve** is a real number after each query that thresholds are tried on: each detector's own
-- statistic, and for several detectors two more, which `_steps` defines.

CREATE TEMP TABLE _lives AS
SELECT row_number() OVER (ORDER BY trace, account, model) AS life, *
FROM (
    SELECT trace, account, model, any_value(kind) AS kind, max(query) + 1 AS queries
    FROM scores
    GROUP BY trace, account, model
);

-- Which rows of the result a life counts in: its kind's, and for attacks that of all attacks.
CREATE TEMP TABLE _groups AS
SELECT
    life,
    kind,
    CASE WHEN kind IS NULL THEN 'unlabelled' WHEN kind = 'benign' THEN 'benign' ELSE 'attack' END
        AS role
FROM _lives
UNION ALL
SELECT life, 'all attacks', 'attack' FROM _lives WHERE kind <> 'benign';

CREATE TEMP VIEW _statistics AS
SELECT detector AS curve, life, query, statistic
FROM scores JOIN _lives USING (trace, account, model)
WHERE statistic IS NOT NULL;

CREATE TEMP TABLE _chunks AS
SELECT curve, life, query // getvariable('chunk') AS chunk, max(statistic) AS peak
FROM _statistics
GROUP BY ALL;

-- The queries after which a statistic is higher than ever before in its life. The first alarm of any
-- threshold is one of them: the one with the smallest value above it. They are looked for only in
-- chunks whose peak is higher than ever before, which are few.
CREATE TEMP TABLE _records AS
WITH rising AS (
    SELECT curve, life, chunk
    FROM _chunks
    QUALIFY peak > coalesce(
        max(peak) OVER (
            PARTITION BY curve, life ORDER BY chunk ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        CAST('-infinity' AS DOUBLE)
    )
)
SELECT _statistics.curve, _statistics.life, query, statistic
FROM _statistics
JOIN rising
    ON _statistics.curve = rising.curve
    AND _statistics.life = rising.life
    AND query // getvariable('chunk') = chunk
QUALIFY statistic > coalesce(
    max(statistic) OVER (
        PARTITION BY _statistics.curve, _statistics.life
        ORDER BY query ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ),
    CAST('-infinity' AS DOUBLE)
);

-- Minus infinity stands for never ready, as in the account-level rule.
CREATE TEMP TABLE _maxima AS
SELECT
    detector AS curve,
    _lives.life,
    kind,
    coalesce(max(statistic), CAST('-infinity' AS DOUBLE)) AS maximum
FROM (_detectors CROSS JOIN _lives)
LEFT JOIN _records ON curve = detector AND _records.life = _lives.life
GROUP BY ALL;

-- Several detectors together, as one statistic each. `any`: how many benign accounts have a maximum
-- below the present statistic, by the detector of which that is the most. It is above r - 1 if and
-- only if a statistic is above its detector's r-th smallest maximum: the threshold that the
-- account-level rule chooses where all detectors have an equal share of alpha. `own`: 1 if a
-- statistic is above the profile's threshold.
CREATE TEMP TABLE _steps AS
SELECT
    'any' AS curve,
    curve AS detector,
    maximum AS above,
    CAST(sum(count(*)) OVER (PARTITION BY curve ORDER BY maximum) AS DOUBLE) AS value
FROM _maxima
WHERE kind = 'benign' AND (SELECT count(*) FROM _detectors) > 1
GROUP BY curve, maximum
UNION ALL
SELECT 'own', detector, threshold, 1
FROM _detectors
WHERE threshold IS NOT NULL AND (SELECT count(*) FROM _detectors) > 1;

INSERT INTO _records
WITH stepped AS (
    SELECT each.curve, life, query, max(coalesce(value, 0)) AS statistic
    FROM ((SELECT DISTINCT curve FROM _steps) AS each CROSS JOIN _records)
    ASOF LEFT JOIN _steps
        ON each.curve = _steps.curve AND _records.curve = detector AND statistic > above
    GROUP BY each.curve, life, query
)
SELECT curve, life, query, statistic
FROM stepped
QUALIFY statistic > coalesce(
    max(statistic) OVER (
        PARTITION BY curve, life ORDER BY query ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ),
    CAST('-infinity' AS DOUBLE)
);

INSERT INTO _chunks
SELECT each.curve, life, chunk, max(coalesce(value, 0))
FROM ((SELECT DISTINCT curve FROM _steps) AS each CROSS JOIN _chunks)
ASOF LEFT JOIN _steps ON each.curve = _steps.curve AND _chunks.curve = detector AND peak > above
GROUP BY each.curve, life, chunk;

-- What is tried. A decision on an account changes only where a threshold passes its maximum, so all
-- maxima, and minus infinity, give every account-level decision there is: the exact ROC. Quantiles
-- of the benign chunks' maxima fill the curve of the chunk FPR between them.
CREATE TEMP TABLE _settings AS
WITH benign AS (
    SELECT curve, list(maximum ORDER BY maximum) AS maxima
    FROM _maxima WHERE kind = 'benign'
    GROUP BY curve
),
tried AS (
    SELECT curve, maximum AS threshold, false AS own FROM _maxima
    UNION ALL
    SELECT
        curve,
        unnest(quantile_disc(peak, list_transform(range(0, 101), lambda each: each / 100))),
        false
    FROM _chunks JOIN _lives USING (life)
    WHERE kind = 'benign' AND curve IN (SELECT detector FROM _detectors)
    GROUP BY curve
    UNION ALL
    SELECT detector, threshold, true FROM _detectors WHERE threshold IS NOT NULL
    UNION ALL
    SELECT detector, CAST('-infinity' AS DOUBLE), false FROM _detectors
),
ranks AS (
    SELECT unnest(range(0, len(any_value(maxima)) + 1)) AS rank, len(any_value(maxima)) AS accounts
    FROM benign
    HAVING (SELECT count(*) FROM _detectors) > 1
)
SELECT
    curve,
    curve AS detector,
    threshold,
    bool_or(own) AS own,
    map([curve], [threshold]) AS thresholds,
    CAST(NULL AS DOUBLE) AS alpha
FROM tried
GROUP BY curve, threshold
UNION ALL
SELECT
    'any',
    'any',
    CASE WHEN rank = 0 THEN CAST('-infinity' AS DOUBLE) ELSE rank - 1 END,
    false,
    (
        SELECT map(
            list(detector ORDER BY place),
            list(CASE WHEN rank = 0 THEN CAST('-infinity' AS DOUBLE) ELSE maxima[rank] END ORDER BY place)
        )
        FROM benign JOIN _detectors ON curve = detector
    ),
    CASE
        WHEN rank > 0
        THEN least(1, (SELECT count(*) FROM _detectors) * (accounts + 1 - rank) / (accounts + 1))
    END
FROM ranks
UNION ALL
SELECT
    'own',
    'any',
    0.5,
    true,
    map(list(detector ORDER BY place), list(threshold ORDER BY place)),
    NULL
FROM _detectors
WHERE threshold IS NOT NULL
HAVING (SELECT count(*) FROM _detectors) > 1;

-- How many chunks of a group have a peak of at least this.
CREATE TEMP TABLE _alarmed_chunks AS
SELECT
    curve,
    role,
    kind,
    peak,
    CAST(sum(count(*)) OVER (PARTITION BY curve, role, kind ORDER BY peak DESC) AS BIGINT) AS chunks
FROM _chunks JOIN _groups USING (life)
GROUP BY curve, role, kind, peak;

CREATE TEMP TABLE _sweep AS
WITH alarms AS (
    SELECT _settings.curve, threshold, _lives.life, queries, _records.query + 1 AS detection
    FROM (_settings CROSS JOIN _lives)
    ASOF LEFT JOIN _records
        ON _settings.curve = _records.curve
        AND _lives.life = _records.life
        AND threshold < statistic
),
sums AS (
    SELECT
        curve,
        threshold,
        _groups.kind,
        role,
        count(*) AS accounts,
        CAST(sum(queries) AS BIGINT) AS queries,
        count(detection) AS alarmed,
        count(detection) / sum(coalesce(detection, queries)) AS first_alarms_per_query,
        CAST(sum(ceil(queries / getvariable('chunk'))) AS BIGINT) AS chunks,
        median(coalesce(detection, CAST('infinity' AS DOUBLE))) AS middle,
        max(detection) AS last
    FROM alarms JOIN _groups USING (life)
    GROUP BY curve, threshold, _groups.kind, role
)
SELECT
    detector,
    CAST(
        dense_rank() OVER (
            PARTITION BY detector ORDER BY sums.curve = 'own', sums.threshold DESC
        ) AS INTEGER
    ) AS point,
    CASE WHEN detector <> 'any' THEN sums.threshold END AS threshold,
    thresholds,
    alpha,
    own,
    sums.kind,
    sums.role,
    accounts,
    queries,
    alarmed,
    alarmed / accounts AS share,
    first_alarms_per_query,
    sums.chunks,
    coalesce(_alarmed_chunks.chunks, 0) AS chunks_alarmed,
    CASE WHEN sums.role = 'benign' THEN chunks_alarmed / sums.chunks END AS chunk_fpr,
    CASE WHEN sums.role = 'attack' AND isfinite(middle) THEN middle END AS detection_median,
    CASE WHEN sums.role = 'attack' AND alarmed = accounts THEN last END AS detection_worst
FROM sums
JOIN _settings USING (curve, threshold)
ASOF LEFT JOIN _alarmed_chunks
    ON sums.curve = _alarmed_chunks.curve
    AND sums.role = _alarmed_chunks.role
    AND coalesce(sums.kind, '') = coalesce(_alarmed_chunks.kind, '')
    AND sums.threshold < peak
ORDER BY
    detector = 'any',
    (SELECT place FROM _detectors WHERE _detectors.detector = _settings.detector),
    point,
    sums.role <> 'benign',
    sums.role,
    sums.kind = 'all attacks' DESC,
    sums.kind;
