-- Rate limits: the times of admitted requests per key, and one function that decides.
--
-- A changed function gets another number in its name, so that instances of two versions can share a
-- database.

CREATE TABLE IF NOT EXISTS tracera_limits (
    key bytea PRIMARY KEY,
    -- Microseconds, ascending.
    admitted bigint[] NOT NULL,
    -- Seconds since 1970, by the server's clock.
    expires bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS tracera_limits_expires ON tracera_limits (expires);

-- keys    the first is the client's own key
-- grants  requests granted per window, for each key
-- span    the window in microseconds
-- chosen  the time in microseconds; NULL for the server's clock
CREATE OR REPLACE FUNCTION tracera_limit_1(
    keys bytea[], grants bigint[], span bigint, chosen bigint,
    OUT allowed boolean, OUT used integer, OUT oldest_age bigint
) LANGUAGE plpgsql AS $$
DECLARE
    now bigint;
    turn integer;
    full_key boolean;
    makes_room bigint;
BEGIN
    -- Locks keys rather than rows, because a new key has no row, and so that a refusal writes
    -- nothing. The order prevents deadlocks.
    FOR turn IN SELECT DISTINCT hashtext(encode(k, 'hex')) AS h FROM unnest(keys) AS k ORDER BY h
    LOOP
        PERFORM pg_advisory_xact_lock(1414676809, turn);
    END LOOP;

    -- Read under the locks, so that the times of one key ascend.
    now := coalesce(chosen, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

    SELECT asked.full_key, asked.used, asked.makes_room
    INTO full_key, used, makes_room
    FROM (
        SELECT place, counted.used, counted.used >= granted AS full_key,
            counted.times[greatest(counted.used - granted, 0) + 1] AS makes_room
        FROM unnest(keys, grants) WITH ORDINALITY AS budget (key, granted, place)
        CROSS JOIN LATERAL (
            SELECT array_agg(least(at, now) ORDER BY at) AS times, count(*)::integer AS used
            FROM tracera_limits AS log, unnest(log.admitted) AS at
            WHERE log.key = budget.key AND at + span >= now
        ) AS counted
    ) AS asked
    -- The full key that stays full for longest, else the client's own key.
    ORDER BY asked.full_key DESC, CASE WHEN asked.full_key THEN asked.makes_room END DESC, place
    LIMIT 1;

    allowed := NOT coalesce(full_key, false);
    IF allowed THEN
        INSERT INTO tracera_limits AS log (key, admitted, expires)
        SELECT key, ARRAY[now],
            -- In whole minutes, so that most updates leave the index alone.
            (ceil((extract(epoch FROM clock_timestamp()) + span / 1000000.0 + 1) / 60) * 60)::bigint
        FROM unnest(keys) AS key
        ON CONFLICT (key) DO UPDATE SET
            admitted = ARRAY(
                SELECT least(at, now) FROM unnest(log.admitted) AS at
                WHERE at + span >= now ORDER BY at
            ) || now,
            expires = excluded.expires;
        used := coalesce(used, 0) + 1;
    ELSE
        -- The clock was set back: times in the future become the present.
        UPDATE tracera_limits SET admitted = ARRAY(
            SELECT least(at, now) FROM unnest(admitted) AS at ORDER BY at
        )
        WHERE key = ANY (keys) AND admitted[cardinality(admitted)] > now;
    END IF;
    oldest_age := now - coalesce(makes_room, now);

    -- After a power cut the latest requests may be forgotten. Waiting for the disk would cost more
    -- than that.
    PERFORM set_config('synchronous_commit', 'off', true);
END
$$;
