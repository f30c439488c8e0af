-- The year of a plane is not that of a flight.
select
    tailnum,
    year as built
from {{ source('raw', 'planes') }}
