{# Minutes since midnight of a time written hhmm: 517 is 317, and 2400 is midnight. #}
{% macro minutes_of_day(column) -%}
    ({{ column }} // 100 * 60 + {{ column }} % 100)
{%- endmacro %}
