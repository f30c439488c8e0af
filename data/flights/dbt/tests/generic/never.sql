{% test never(model, expression) %}
select *
from {{ model }}
where {{ expression }}
{% endtest %}
