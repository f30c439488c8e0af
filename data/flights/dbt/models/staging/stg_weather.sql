-- The hour in UTC tells hours apart; the local one came twice when the clocks were set back.
select
    origin,
    time_hour,
    temp,
    dewp,
    humid,
    wind_dir,
    wind_speed,
    precip,
    pressure,
    visib
from {{ source('raw', 'weather') }}
