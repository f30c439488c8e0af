select
    flights.*,
    weather.* exclude (origin, time_hour),
    weather.time_hour as observed,
    planes.built
from {{ ref('stg_flights') }} as flights
left join {{ ref('stg_weather') }} as weather
    on flights.origin = weather.origin
    and flights.time_hour = weather.time_hour
left join {{ ref('stg_planes') }} as planes
    on flights.tailnum = planes.tailnum
