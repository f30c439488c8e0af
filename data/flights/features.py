"""What a flight's own columns tell, computed before it departs."""

import pandas as pd


def weekday(year: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    """Day of the week of the scheduled departure, Monday 0."""
    return pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": day})).dt.dayofweek


def departure_minute(sched_dep_time: pd.Series) -> pd.Series:
    """Scheduled departure, in minutes since midnight."""
    return _minutes(sched_dep_time)


def arrival_minute(sched_arr_time: pd.Series) -> pd.Series:
    """Scheduled arrival, in minutes since midnight at the destination."""
    return _minutes(sched_arr_time)


def plane_age(year: pd.Series, built: pd.Series) -> pd.Series:
    """Years since the plane was built; missing where the register has no year."""
    return year - built


def _minutes(hhmm: pd.Series) -> pd.Series:
    return hhmm // 100 * 60 + hhmm % 100
