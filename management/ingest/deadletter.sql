-- name: dead_letter_standing
-- $1: the size of the window; $2: the most that may be dead in it. One letter more than that need not be looked at.
-- A letter that is redriven or given up changes its column, not the sum.
SELECT settled.records, allowance.letters AS allowed,
    ARRAY(
        SELECT number FROM dead_letters
        WHERE NOT accepted AND number > settled.records - $1::bigint
        ORDER BY number DESC LIMIT $2::integer + 1
    ) AS numbers
FROM (
    SELECT coalesce(sum(stored + repeated + dead_lettered + discarded), 0)::bigint AS records FROM stream_positions
) AS settled
CROSS JOIN dead_letter_allowance AS allowance;

-- name: dead_letter_runs
-- $1, $2: streams and where they stand; $3: the most that may follow one another. A run's letters have no seq between
-- them, so counted backwards from the position each is as far from it as there are letters on the way.
SELECT stream, count(*) AS letters
FROM (
    SELECT letter.stream, place.next - letter.seq AS distance,
        row_number() OVER (PARTITION BY letter.stream ORDER BY letter.seq DESC) AS rank
    FROM unnest($1::bytea[], $2::bigint[]) AS place (stream, next)
    JOIN dead_letters AS letter ON letter.stream = place.stream
        AND letter.seq >= place.next - $3::integer AND letter.seq < place.next
    WHERE NOT letter.accepted
) AS nearest
WHERE distance = rank
GROUP BY stream;
