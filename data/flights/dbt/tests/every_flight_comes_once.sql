with flights as (
    select year, month, day, carrier, flight, origin, sched_dep_time, 1 as accepted, 0 as found
    from {{ ref('stg_flights') }}
    union all
    select year, month, day, carrier, flight, origin, sched_dep_time, 0, 1
    from {{ ref('cleaned') }}
)

select year, month, day, carrier, flight, origin, sched_dep_time, sum(accepted) as accepted, sum(found) as found
from flights
group by all
having sum(accepted) <> 1 or sum(found) <> 1
